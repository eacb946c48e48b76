// Budgets: one slider per objective, the best model within all of them, and what the next step buys.
// The server decides (nas/front.py); this shows.

import { byId, element, getJson, latest, root } from "./dom.js";
import { general, shown, withSpread } from "./format.js";
import { glyph } from "./glyph.js";

const NOTCHES = 1000;

export class Budget {
  constructor(trials, { onAnswer, onLimits }) {
    this.trials = trials;
    this.onAnswer = onAnswer;
    this.onLimits = onLimits;
    this.limits = [];
    this.ask = latest(() => this.fetchAnswer());
    this.rows = [...document.querySelectorAll(".budget")];
    byId("goal").addEventListener("change", () => this.chooseGoal());
    for (const row of this.rows) {
      const column = Number(row.dataset.column);
      row.querySelector("[type=range]").addEventListener("input", () => this.slide(column));
      row.querySelector("[type=number]").addEventListener("change", () => this.type(column));
    }
  }

  get goal() {
    return Number(byId("goal").value);
  }

  /** Let sliders span the front as it is now; set limits stay. */
  ready() {
    if (!this.trials.front.length) return;
    this.limits.length = this.trials.objectives.length;
    for (const row of this.rows) {
      row.querySelectorAll("input").forEach((input) => { input.disabled = false; });
      this.reflect(Number(row.dataset.column));
    }
    this.ask();
  }

  chooseGoal() {
    this.limits[this.goal] = null;
    this.rows.forEach((row) => { row.hidden = Number(row.dataset.column) === this.goal; });
    this.changed();
  }

  set(column, limit) {
    this.limits[column] = limit;
    this.reflect(column);
    this.changed();
  }

  changed() {
    this.onLimits(this.limits);
    this.ask();
  }

  slide(column) {
    const notch = Number(byId(`slider-${column}`).value);
    const [low, high, isFloor] = this.range(column);
    const isOff = notch === (isFloor ? 0 : NOTCHES);
    const part = notch / NOTCHES;
    const value = this.isLog(low, high) ? low * (high / low) ** part : low + (high - low) * part;
    this.set(column, isOff ? null : Number(value.toPrecision(4)));
  }

  type(column) {
    const text = byId(`limit-${column}`).value;
    this.set(column, text === "" ? null : Number(text) / this.trials.objectives[column].factor);
  }

  range(column) {
    const values = this.trials.front.map((row) => this.trials.values[column][row]);
    return [Math.min(...values), Math.max(...values), this.trials.objectives[column].direction === "maximize"];
  }

  isLog(low, high) {
    return low > 0 && high > 10 * low;
  }

  /** Show a limit on its slider and in its field. */
  reflect(column) {
    const limit = this.limits[column];
    const [slider, field] = [byId(`slider-${column}`), byId(`limit-${column}`)];
    const objective = this.trials.objectives[column];
    const [low, high, isFloor] = this.range(column);
    if (limit === null || limit === undefined) {
      slider.value = isFloor ? 0 : NOTCHES;
      field.value = "";
      slider.setAttribute("aria-valuetext", "any");
      return;
    }
    const part = this.isLog(low, high) ? Math.log(limit / low) / Math.log(high / low) : (limit - low) / (high - low || 1);
    slider.value = Math.min(NOTCHES, Math.max(0, Math.round(part * NOTCHES)));
    const inUnit = limit * objective.factor;
    field.value = Math.abs(inUnit) >= 1000 ? Math.round(inUnit) : general(inUnit, 4);
    slider.setAttribute("aria-valuetext", `${isFloor ? "at least" : "at most"} ${shown(limit, objective)}`);
  }

  query() {
    const query = new URLSearchParams({ goal: this.trials.objectives[this.goal].name });
    for (const id of ["axis-x", "axis-y"]) {
      query.set(id.slice(-1), this.trials.objectives[Number(byId(id).value)].name);
    }
    this.limits.forEach((limit, column) => {
      if (limit !== null && limit !== undefined) query.append("limit", `${this.trials.objectives[column].name}:${limit}`);
    });
    return query;
  }

  async fetchAnswer() {
    const answer = await getJson(`${root}/runs/${this.trials.run}/explore?${this.query()}`);
    this.show(answer);
    this.onAnswer(answer);
  }

  show(answer) {
    const row = this.trials.row.get(answer.best);
    const count = `${answer.within.toLocaleString("en-US")} of ${answer.of.toLocaleString("en-US")} fit`;
    if (row === undefined) {
      byId("answer").replaceChildren(
        element("p", { class: "kicker" }, element("span", {}, "best within the budgets"), count),
        element("p", { class: "headline" }, "Nothing fits"),
        element("p", { class: "muted" }, "No evaluated architecture meets all budgets. Loosen one:"),
      );
    } else byId("answer").replaceChildren(...this.described(row, count));
    byId("steps").replaceChildren(...answer.steps.map((step) => this.step(step)));
    if (!answer.steps.length && row !== undefined) {
      byId("steps").append(element("p", { class: "muted small" }, answer.last));
    }
  }

  described(row, count) {
    const { trials } = this;
    const text = (o) => withSpread(trials.values[o][row], trials.spread[o][row], trials.objectives[o]);
    const [value, spread] = text(this.goal);
    const facts = element("dl", { class: "facts" });
    trials.objectives.forEach((objective, o) => {
      if (o === this.goal) return;
      const [number, around] = text(o);
      facts.append(element("dt", {}, objective.label), element("dd", {}, number, element("span", { class: "spread" }, ` ${around}`)));
    });
    return [
      element("p", { class: "kicker" }, element("span", {}, "best within the budgets"), count),
      element("p", { class: "headline" }, value, element("span", { class: "spread" }, ` ${spread}`)),
      element("p", { class: "name" }, trials.id[row]),
      facts,
      glyph(trials.genes[row], trials.choices),
    ];
  }

  step(step) {
    const button = element("button", { class: "step", type: "button" }, element("span", {}, step.text), element("small", {}, step.detail));
    button.addEventListener("click", () => this.set(step.column, step.limit));
    return button;
  }
}
