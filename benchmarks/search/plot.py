"""Hypervolume over evaluations, with quartile bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.search.methods import METHODS
from benchmarks.search.report import SMALLEST
from benchmarks.search.results import Result
from benchmarks.search.tables import BenchmarkTable

_COLOURS = {
    "ours": "#c0392b",
    "ours-measured": "#e59866",
    "ours-named": "#d7bde2",
    "smithson": "#34495e",
    "local": "#7dcea0",
    "random": "#7f8c8d",
    "pls": "#27ae60",
    "nsga2": "#2e86c1",
    "pymoo": "#85c1e9",
    "tpe": "#8e44ad",
    "gp": "#b7950b",
}


def plot(
    path: Path, results: Mapping[str, Sequence[Sequence[Result]]], chosen: Mapping[str, BenchmarkTable]
) -> None:
    """Draw one panel per table: what is missing of the true front's hypervolume, on a logarithmic axis."""
    columns = 2 if len(results) > 1 else 1
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(6.2 * columns, 4.2 * rows), layout="constrained")
    for number, (name, by_method) in enumerate(results.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for seeds in by_method:
            if seeds:
                _draw(axes, seeds)
        axes.set_yscale("log")
        axes.set_xlim(0, chosen[name].budgets[-1])
        axes.set_title(chosen[name].title, fontsize=9)
        axes.set_xlabel("architectures evaluated")
        axes.set_ylabel("1 - hypervolume ratio")
        axes.grid(alpha=0.3, which="both", linewidth=0.5)
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw(axes: Axes, seeds: Sequence[Result]) -> None:
    """Draw median and quartiles up to where all seeds got."""
    method = seeds[0].method
    length = min(len(result.rows) for result in seeds)
    missing = np.maximum(1 - np.array([result.hypervolume[:length] for result in seeds]), SMALLEST)
    low, middle, high = np.percentile(missing, [25, 50, 75], axis=0)
    steps = np.arange(1, length + 1)
    ours, colour = METHODS[method].ours, _COLOURS.get(method, f"C{list(METHODS).index(method) % 10}")
    axes.plot(steps, middle, color=colour, linewidth=2.2 if ours else 1.2, label=METHODS[method].title)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
