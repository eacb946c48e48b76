// The evaluated architectures of a run, in columns, as /runs/<id>/points sends them; new ones are added.

import { getJson, root } from "./dom.js";

export class Trials {
  constructor(run) {
    this.run = run;
    this.objectives = [];
    this.choices = [];
    this.number = [];
    this.id = [];
    this.values = [];
    this.spread = [];
    this.genes = [];
    this.front = [];
    this.winners = [];
    this.total = 0;
    this.cursor = 0;
    this.row = new Map();
  }

  /** All values of an objective that the plot shows: those of the search, and those of the finished winners. */
  shown(column) {
    return [...this.values[column], ...this.winners.map((winner) => winner.values[column]).filter((value) => value !== null)];
  }

  /** Fetch what is new; returns whether anything is. */
  async update() {
    const first = this.number.length === 0;
    const sent = await getJson(`${root}/runs/${this.run}/points${first ? "" : `?after=${this.cursor}`}`);
    if (first) {
      this.objectives = sent.objectives;
      this.choices = sent.choices;
      this.values = sent.objectives.map(() => []);
      this.spread = sent.objectives.map(() => []);
    }
    sent.number.forEach((number, at) => {
      if (this.row.has(number)) return;
      this.row.set(number, this.number.length);
      this.number.push(number);
      this.id.push(sent.id[at]);
      this.genes.push(sent.genes[at]);
      sent.values.forEach((column, o) => this.values[o].push(column[at]));
      sent.spread.forEach((column, o) => this.spread[o].push(column[at]));
    });
    this.front = sent.front.map((number) => this.row.get(number)).filter((row) => row !== undefined);
    this.winners = sent.winners;
    this.total = sent.total;
    this.cursor = sent.cursor;
    return sent.number.length > 0;
  }
}
