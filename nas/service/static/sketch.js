// The front as a still picture, at once: plotly.js takes its place when the browser has read its four megabytes.

import { byId } from "./dom.js";
import { shown } from "./format.js";
import { axis, label, layout } from "./plot.js";

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** Draw the trials where plotly.js will have them, with the ends of the axes named. */
export function sketch(trials, columns) {
  const box = byId("sketch");
  const { l, r, t, b } = layout({}).margin;
  const [width, height] = [box.clientWidth - l - r, box.clientHeight - t - b];
  const shares = columns.map((column) => {
    const { type, range } = axis(trials.objectives[column], trials.shown(column));
    return [...trials.values[column], ...trials.winners.map((winner) => winner.values[column])].map((value) => ((type === "log" ? Math.log10(value) : value) - range[0]) / (range[1] - range[0]));
  });
  const dots = (rows) => rows.map((row) => `M${(l + shares[0][row] * width).toFixed(1)} ${(t + (1 - shares[1][row]) * height).toFixed(1)}h0`).join("");
  const ends = columns.map((column) => {
    const values = trials.shown(column);
    return [Math.min(...values), Math.max(...values)].map((value) => shown(value, trials.objectives[column]));
  });
  const [x, y] = columns.map((column) => label(trials.objectives[column]));
  const isShown = (winner) => columns.every((column) => winner.values[column] !== null);
  const finished = trials.winners.map((winner, at) => (isShown(winner) ? trials.number.length + at : -1)).filter((row) => row >= 0);
  const front = new Set(trials.front);
  box.replaceChildren(
    svg("path", { class: "axes-lines", d: `M${l} ${t}v${height}h${width}` }),
    svg("path", { class: "c-dominated", "stroke-width": 6, opacity: 0.5, d: dots(trials.number.map((_, row) => row).filter((row) => !front.has(row))) }),
    svg("path", { class: "c-front", "stroke-width": 9.5, d: dots(trials.front) }),
    svg("path", { class: "c-winner", "stroke-width": 9.5, d: dots(finished) }),
    svg("text", { x: l, y: t + height + 18 }, ends[0][0]),
    svg("text", { x: l + width, y: t + height + 18, "text-anchor": "end" }, ends[0][1]),
    svg("text", { x: l + width / 2, y: t + height + 36, "text-anchor": "middle", class: "title" }, x),
    svg("text", { x: l - 6, y: t + height, "text-anchor": "end" }, ends[1][0]),
    svg("text", { x: l - 6, y: t + 10, "text-anchor": "end" }, ends[1][1]),
    svg("text", { x: 14, y: t + height / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${t + height / 2})`, class: "title" }, y),
  );
  performance.mark("front-sketched");
}
