// Two runs' fronts in one picture.

import { byId } from "./dom.js";
import { CONFIG, axis, better, colour, layout, plotly, staircase } from "./plot.js";
import { Trials } from "./trials.js";

const page = byId("fronts").dataset;
const sides = [
  { trials: new Trials(page.a), name: "front", symbol: "circle" },
  { trials: new Trials(page.b), name: "second", symbol: "square" },
];

function traces(side, x, y) {
  const { trials } = side;
  const at = (name) => trials.objectives.findIndex((objective) => objective.name === name);
  const [i, j] = [at(x), at(y)];
  const [xs, ys] = [trials.values[i], trials.values[j]];
  const steps = staircase(xs, ys, better(trials.objectives[i]), better(trials.objectives[j]), trials.front);
  const of = (rows, column) => rows.map((row) => column[row]);
  const shade = colour(side.name);
  return [
    { type: "scatter", mode: "lines", x: of(steps, xs), y: of(steps, ys), hoverinfo: "skip", opacity: 0.5, line: { shape: better(trials.objectives[i]) < 0 ? "hv" : "vh", width: 1.5, color: shade } },
    { type: "scatter", mode: "markers", x: of(trials.front, xs), y: of(trials.front, ys), text: of(trials.front, trials.id), hovertemplate: "%{text}<extra></extra>", marker: { size: 9, symbol: side.symbol, color: shade, line: { width: 1, color: colour("card") } } },
  ];
}

async function draw() {
  const [x, y] = ["axis-x", "axis-y"].map((id) => byId(id).value);
  const of = (name) => {
    const every = sides.flatMap(({ trials }) => {
      const column = trials.objectives.findIndex((objective) => objective.name === name);
      return trials.front.map((row) => trials.values[column][row]);
    });
    return axis(sides[0].trials.objectives.find((objective) => objective.name === name), every);
  };
  const hoverlabel = { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } };
  (await plotly).react("both", sides.flatMap((side) => traces(side, x, y)), layout({ xaxis: of(x), yaxis: of(y), hoverlabel }), CONFIG);
}

await Promise.all(sides.map((side) => side.trials.update()));
draw();
for (const id of ["axis-x", "axis-y"]) byId(id).addEventListener("change", draw);
document.addEventListener("theme", draw);
