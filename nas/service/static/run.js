// A run's page: draws the front, answers budgets, and keeps up with a run that goes on.

import { Budget } from "./budget.js";
import { byId, getJson, latest, root } from "./dom.js";
import { Front } from "./front.js";
import { CONFIG, colour, layout, plotly } from "./plot.js";
import { Trials } from "./trials.js";

const page = byId("run").dataset;
const trials = new Trials(page.run);
const picked = new Set();
const front = new Front(trials, { onPick: pick });
const budget = new Budget(trials, {
  onLimits: (limits) => { front.limits = limits; front.draw(); },
  onAnswer: (answer) => {
    front.knees = answer.knees.map((number) => trials.row.get(number));
    front.best = trials.row.get(answer.best) ?? null;
    front.draw();
  },
});

for (const which of ["x", "y"]) {
  byId(`axis-${which}`).addEventListener("change", (event) => {
    front[which] = Number(event.target.value);
    front.knees = [];
    front.hide();
    front.draw();
    budget.ask();
  });
}
document.addEventListener("theme", () => { front.draw(); drawHypervolume(); });

async function start() {
  await trials.update();
  await showTrials();
  await drawHypervolume(true);
  if (page.live === "yes") follow();
}

async function showTrials() {
  if (!trials.number.length) return;
  const thinned = trials.total - trials.number.length;
  byId("front-count").textContent = `${trials.front.length} of ${trials.total.toLocaleString("en-US")}`;
  byId("thinned").hidden = thinned <= 0;
  byId("thinned").textContent = `${thinned.toLocaleString("en-US")} trials off the front that lie close to others are left out of the picture; the table, the API and all budgets know them.`;
  byId("legend-winners").hidden = !trials.winners.length;
  await front.draw();
  budget.ready();
}

let volumes = [];

async function drawHypervolume(anew = false) {
  if (anew) volumes = (await getJson(`${root}/api/v1/runs/${page.run}/hypervolume`)).hypervolume;
  if (!volumes.length) return;
  byId("hv-empty").hidden = true;
  byId("hv-now").textContent = volumes.at(-1).toFixed(4);
  const axis = { gridcolor: colour("grid"), zeroline: false, showline: true, linecolor: colour("line"), ticks: "", automargin: true, fixedrange: true };
  const line = { type: "scatter", mode: "lines", x: volumes.map((_, at) => at + 1), y: volumes, line: { color: colour("front"), width: 2, shape: "hv" }, hovertemplate: "%{y:.4f} after %{x}<extra></extra>" };
  const looks = layout({
    margin: { l: 44, r: 10, t: 6, b: 40 },
    xaxis: { ...axis, title: { text: "evaluations", standoff: 8, font: { size: 13 } } },
    yaxis: { ...axis, tickformat: ".3~g" },
    hovermode: "x",
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
  });
  await (await plotly).react("hypervolume", [line], looks, CONFIG);
}

/* comparing: the last two that were picked, in the plot or in the table */

function pick(row) {
  const number = trials.number[row];
  if (!picked.delete(number)) picked.add(number);
  while (picked.size > 2) picked.delete(picked.values().next().value);
  showPicked();
}

function showPicked() {
  const [a, b] = picked;
  const link = byId("compare");
  if (link) {
    link.href = `${root}/runs/${page.run}/compare?a=${a}&b=${b}`;
    link.setAttribute("aria-disabled", String(picked.size < 2));
  }
  document.querySelectorAll("#part-table [type=checkbox]").forEach((box) => {
    box.checked = picked.has(Number(box.value));
    box.closest("tr").classList.toggle("on", box.checked);
  });
  front.picked = [...picked].map((number) => trials.row.get(number));
  front.draw();
}

document.addEventListener("change", (event) => {
  if (event.target.matches("#part-table [type=checkbox]")) pick(trials.row.get(Number(event.target.value)));
});

/* live: the stream says that something changed; what is shown comes from the server, at most once a second */

const refresh = latest(async () => {
  const [, parts] = await Promise.all([trials.update(), fetch(`${root}/runs/${page.run}/parts`).then((answer) => (answer.ok ? answer.text() : ""))]);
  replaceParts(new DOMParser().parseFromString(parts, "text/html"));
  await showTrials();
  await drawHypervolume(true);
  await new Promise((resolve) => { setTimeout(resolve, 1000); });
});

function replaceParts(fresh) {
  const focused = document.activeElement?.id;
  for (const part of fresh.querySelectorAll("[id^=part-]")) {
    const old = byId(part.id);
    if (!old || old.outerHTML === part.outerHTML) continue;
    const scrolled = old.querySelector(".scroll, .log")?.scrollTop;
    old.replaceWith(document.adoptNode(part));
    const inner = byId(part.id).querySelector(".scroll, .log");
    if (inner) inner.scrollTop = part.id === "part-log" ? inner.scrollHeight : scrolled;
  }
  if (focused && document.activeElement?.id !== focused) byId(focused)?.focus({ preventScroll: true });
  showPicked();
}

function follow() {
  const stream = new EventSource(`${root}/api/v1/runs/${page.run}/events?after=${trials.cursor}`);
  for (const name of ["status", "trial", "front", "log"]) stream.addEventListener(name, refresh);
  stream.addEventListener("done", () => { stream.close(); refresh(); });
}

const log = document.querySelector("#part-log .log");
log.scrollTop = log.scrollHeight;
start();
