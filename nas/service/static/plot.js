// What all plots share: colours of the page, axes, and how plotly is called.

import { byId } from "./dom.js";

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/** Resolve a colour of page.css, which has one for light and one for dark. */
export function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** plotly.js, which is read beside all else and may come last. */
export const plotly = new Promise((resolve) => {
  if (window.Plotly) resolve(window.Plotly);
  else byId("plotly").addEventListener("load", () => resolve(window.Plotly));
});

export const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", scrollZoom: false };

export function layout(extra) {
  return {
    autosize: true,
    margin: { l: 62, r: 14, t: 14, b: 50 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("muted") },
    showlegend: false,
    hovermode: "closest",
    hoverdistance: 14,
    dragmode: "zoom",
    ...extra,
  };
}

export function label(objective) {
  return objective.unit ? `${objective.label} [${objective.unit}]` : objective.label;
}

function wide(values) {
  const low = Math.min(...values);
  return low > 0 && Math.max(...values) > 10 * low;
}

/** The range of an axis, with some room; stated, so that a shaded budget can't stretch it. */
function span(values, isLog) {
  if (!values.length) return undefined;
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => (isLog ? Math.log10(value) : value));
  const room = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - room, high + room];
}

/** An axis for an objective: logarithmic where values differ tenfold, rates as percent. */
export function axis(objective, values, extra = {}) {
  const isLog = values.length > 0 && wide(values);
  const isLarge = values.some((value) => Math.abs(value) >= 1000);
  return {
    title: { text: label(objective), standoff: 12, font: { size: 13, color: colour("ink") } },
    type: isLog ? "log" : "linear",
    range: span(values, isLog),
    tickformat: objective.shown_unit === "%" ? ".3~p" : isLarge ? "~s" : ".4~g",
    dtick: isLog ? "D2" : undefined,
    gridcolor: colour("grid"),
    linecolor: colour("line"),
    zeroline: false,
    showline: true,
    ticks: "",
    automargin: true,
    fixedrange: matchMedia("(hover: none)").matches,
    ...extra,
  };
}

/** Positions of the front of two columns, in the order of the first; costs are minimised. */
export function staircase(xs, ys, xBetter, yBetter, rows) {
  const sorted = [...rows].sort((i, j) => xBetter * (xs[j] - xs[i]) || yBetter * (ys[j] - ys[i]));
  const kept = [];
  let best = -Infinity;
  for (const row of sorted) {
    if (yBetter * ys[row] > best) {
      best = yBetter * ys[row];
      kept.push(row);
    }
  }
  return kept;
}

export const better = (objective) => (objective.direction === "maximize" ? 1 : -1);
