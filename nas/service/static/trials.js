// The evaluated architectures of a run, in columns, as /runs/<id>/points sends them, and its winners; new ones are added.

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
    const [sent, { winners }] = await Promise.all([
      getJson(`${root}/runs/${this.run}/points${first ? "" : `?after=${this.cursor}`}`),
      getJson(`${root}/api/v1/runs/${this.run}/winners`),
    ]);
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
    this.winners = winners.flatMap((winner) => winner.variants.map((variant) => this.file(winner, variant)));
    this.total = sent.total;
    this.cursor = sent.cursor;
    return sent.number.length > 0;
  }

  /** An exported file of a winner, measured on the test split; what isn't known of it is null. */
  file(winner, variant) {
    const all = (which) => this.objectives.map(({ name }) => variant.values[name]?.[which] ?? null);
    return { id: winner.id, variant: variant.name, on_front: variant.on_front, values: all("value"), spread: all("spread") };
  }
}
