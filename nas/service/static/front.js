// The front as a plot: every trial, the members of the front, knees, the best within the budgets.

import { byId, element, root } from "./dom.js";
import { withSpread } from "./format.js";
import { glyph } from "./glyph.js";
import { CONFIG, axis, better, colour, layout, plotly, staircase } from "./plot.js";
import { sketch } from "./sketch.js";

const TIP_WIDTH = 264;
const WINNERS = "winners";

export class Front {
  constructor(trials, { onPick }) {
    this.trials = trials;
    this.onPick = onPick;
    this.box = byId("front");
    this.tip = byId("tip");
    this.x = Number(byId("axis-x").value);
    this.y = Number(byId("axis-y").value);
    this.knees = [];
    this.best = null;
    this.picked = [];
    this.limits = [];
    this.isDrawn = false;
    this.box.addEventListener("keydown", (event) => this.walk(event));
    this.box.addEventListener("blur", () => this.hide());
  }

  async draw() {
    const { trials } = this;
    if (!trials.number.length) return;
    byId("front-empty").hidden = true;
    if (!this.isDrawn) sketch(trials, [this.x, this.y]);
    await (await plotly).react(this.box, this.traces(), this.layout(), CONFIG);
    if (!this.isDrawn) {
      this.isDrawn = true;
      byId("sketch").remove();
      this.box.on("plotly_hover", ({ points: [point] }) => (point.data.name === WINNERS ? this.showWinner(point.customdata) : this.show(point.customdata)));
      this.box.on("plotly_unhover", () => this.hide());
      this.box.on("plotly_click", ({ points: [point] }) => (point.data.name === WINNERS ? this.open(point.customdata) : this.onPick(point.customdata)));
      performance.mark("front-drawn");
      this.box.dataset.drawn = "yes";
    }
  }

  traces() {
    const { trials } = this;
    const front = new Set(trials.front);
    const dominated = trials.number.map((_, row) => row).filter((row) => !front.has(row));
    const [x, y] = [trials.objectives[this.x], trials.objectives[this.y]];
    const steps = staircase(trials.values[this.x], trials.values[this.y], better(x), better(y), trials.front);
    const isLimited = this.limits.some((limit) => limit !== null && limit !== undefined);
    const faded = (rows, full, faint) => (isLimited ? rows.map((row) => (this.fits(row) ? full : faint)) : full);
    const inside = faded(dominated, 0.5, 0.14);
    const member = faded(trials.front, 1, 0.28);
    return [
      this.marks(dominated, { size: 6, color: colour("dominated"), opacity: inside }),
      {
        ...this.marks(steps, {}),
        mode: "lines",
        hoverinfo: "skip",
        line: { shape: better(x) < 0 ? "hv" : "vh", color: colour("front"), width: 1.5 },
        opacity: 0.45,
      },
      this.marks(trials.front, { size: 9.5, color: colour("front"), opacity: member, line: { width: 1.5, color: colour("card") } }),
      this.marks(this.knees, { size: 17, symbol: "diamond-open", color: colour("knee"), line: { width: 2 } }, "skip"),
      this.marks(this.picked, { size: 17, symbol: "square-open", color: colour("second"), line: { width: 2 } }, "skip"),
      this.marks(this.best === null ? [] : [this.best], { size: 19, symbol: "circle-open", color: colour("best"), line: { width: 3 } }, "skip"),
      this.finished(),
    ];
  }

  /** The finished winners: exported files, measured on the test split. Those on the final front are filled. */
  finished() {
    const { winners } = this.trials;
    const marker = { size: 14, symbol: winners.map((w) => (w.on_front ? "star" : "star-open")), color: colour("winner"), line: { width: 1.2, color: winners.map((w) => colour(w.on_front ? "card" : "winner")) } };
    const of = (column) => winners.map((winner) => winner.values[column]);
    return { type: "scatter", mode: "markers", name: WINNERS, x: of(this.x), y: of(this.y), customdata: winners.map((_, at) => at), marker, hoverinfo: "none" };
  }

  marks(rows, marker, hoverinfo = "none") {
    const of = (column) => rows.map((row) => this.trials.values[column][row]);
    return { type: "scatter", mode: "markers", x: of(this.x), y: of(this.y), customdata: rows, marker, hoverinfo };
  }

  layout() {
    const { trials } = this;
    const axes = [this.x, this.y].map((column) => axis(trials.objectives[column], trials.shown(column)));
    return layout({
      xaxis: axes[0],
      yaxis: axes[1],
      shapes: [...this.budget(this.x, "x", axes[0]), ...this.budget(this.y, "y", axes[1])],
      uirevision: `${this.x} ${this.y}`, // zoom survives new points
    });
  }

  /** The part of the plane that a budget rules out, shaded up to the plot's edge. */
  budget(column, direction, axis_) {
    const limit = this.limits[column];
    if (limit === null || limit === undefined) return [];
    const end = axis_.range[this.trials.objectives[column].direction === "maximize" ? 0 : 1];
    const edge = axis_.type === "log" ? 10 ** end : end;
    const band = direction === "x" ? { x0: limit, x1: edge, y0: 0, y1: 1, yref: "paper" } : { y0: limit, y1: edge, x0: 0, x1: 1, xref: "paper" };
    const line = direction === "x" ? { ...band, x1: limit } : { ...band, y1: limit };
    return [
      { type: "rect", ...band, layer: "below", line: { width: 0 }, fillcolor: colour("dominated"), opacity: 0.1 },
      { type: "line", ...line, layer: "below", line: { width: 1.5, dash: "dot", color: colour("best") } },
    ];
  }

  fits(row) {
    return this.limits.every((limit, column) => {
      if (limit === null || limit === undefined) return true;
      return better(this.trials.objectives[column]) * (this.trials.values[column][row] - limit) >= 0;
    });
  }

  /** Arrow keys walk along the front from left to right. */
  walk(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const xs = this.trials.values[this.x];
    const order = [...this.trials.front].sort((i, j) => xs[i] - xs[j]);
    if (step && order.length) {
      event.preventDefault();
      const at = order.indexOf(this.at);
      this.show(order[at < 0 ? 0 : (at + step + order.length) % order.length], true);
    } else if ((event.key === "Enter" || event.key === " ") && this.at !== undefined) {
      event.preventDefault();
      this.onPick(this.at);
    } else if (event.key === "Escape") this.hide();
  }

  show(row, aloud = false) {
    if (row === undefined) return;
    this.at = row;
    const { trials } = this;
    const role = `in the search, ${trials.front.includes(row) ? "on the front" : "not on the front"}`;
    const head = element("header", {}, element("code", {}, trials.id[row]), `trial ${trials.number[row]}`);
    const values = trials.values.map((column) => column[row]);
    const lines = this.lines(values, trials.spread.map((column) => column[row]));
    this.describe(values, head, lines, glyph(trials.genes[row], trials.choices), element("p", { class: "small muted" }, role));
    if (aloud) byId("said").textContent = `${trials.id[row]}, ${role}: ${lines.map((line) => line.join(" ")).join("; ")}`;
  }

  showWinner(at) {
    const winner = this.trials.winners[at];
    const role = `finished, test split, ${winner.on_front ? "on the final front" : "not on the final front"}`;
    const head = element("header", {}, element("code", {}, winner.id), winner.variant);
    this.describe(winner.values, head, this.lines(winner.values, winner.spread), element("p", { class: "small muted" }, role));
  }

  open(at) {
    location.href = `${root}/runs/${this.trials.run}/winners/${encodeURIComponent(this.trials.winners[at].id)}`;
  }

  /** Name, value and spread of each objective that has a value. */
  lines(values, spread) {
    return this.trials.objectives.flatMap((objective, o) => (values[o] === null ? [] : [[objective.label, ...withSpread(values[o], spread[o], objective)]]));
  }

  /** Fill the tip and put it beside a mark. */
  describe(values, head, lines, ...more) {
    const facts = element("dl", { class: "facts" });
    for (const [name, value, spread] of lines) {
      facts.append(element("dt", {}, name), element("dd", {}, value, element("span", { class: "spread" }, ` ${spread}`)));
    }
    this.tip.replaceChildren(head, facts, ...more);
    this.place(values);
    this.tip.classList.add("shown");
  }

  place(values) {
    const { xaxis, yaxis } = this.box._fullLayout;
    const left = xaxis.d2p(values[this.x]) + xaxis._offset;
    const top = yaxis.d2p(values[this.y]) + yaxis._offset;
    const width = this.box.clientWidth;
    const beside = left + 18 + TIP_WIDTH > width ? Math.max(4, left - 18 - TIP_WIDTH) : left + 18;
    const height = this.tip.offsetHeight;
    const down = Math.min(Math.max(4, top - height / 2), Math.max(4, this.box.clientHeight - height - 4));
    this.tip.style.transform = `translate(${beside}px, ${down}px)`;
  }

  hide() {
    this.at = undefined;
    this.tip.classList.remove("shown");
  }
}
