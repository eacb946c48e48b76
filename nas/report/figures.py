"""Figures of a run, as PNG."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from nas.compression.pipeline import PLAIN
from nas.objective import Objective
from nas.report.markdown import plain
from nas.report.results import Baseline, Results, Variant
from nas.search.record.credibility import are_credible
from nas.space import FloatArray

_GREY, _BLUE, _ORANGE, _GREEN = "#b8bec6", "#2f6fb0", "#d9722c", "#3b8f5a"
_BASELINE_COLOURS = ("#8a63b3", "#8c564b", "#c7549a")
_WIDE_RANGE = 1e3
"""Beyond it, three labels for each power of ten would touch."""
_VARIANT_MARKERS = ("*", "D", "s", "^", "v", "P")


def front_png(results: Results, *, marked: str | None = None) -> bytes:
    """Return the front: quality over each other objective, with the winners' variants.

    Args:
        results: What the run found.
        marked: Id of the winner to point out.
    """
    others = range(1, len(results.objectives)) or range(1)
    figure = Figure(figsize=(5.4 * len(others), 4.6), layout="constrained")
    axes = figure.subplots(1, len(others), squeeze=False)[0]
    for axis, column in zip(axes, others, strict=True):
        _Panel(axis, results, column).draw(marked)
    add_legend(figure, axes[0])
    figure.suptitle(f"{results.study}: {len(results.values)} architectures evaluated", fontsize=12)
    return _png(figure)


def hypervolume_png(results: Results) -> bytes:
    """Return the hypervolume after each evaluation, baselines beside it."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.plot(range(1, len(results.hypervolume) + 1), results.hypervolume, color=_BLUE, label="this search")
    for baseline, colour in _with_colours(results):
        steps = range(1, len(baseline.hypervolume) + 1)
        axis.plot(steps, baseline.hypervolume, color=colour, label=baseline.name)
    axis.set(xlabel="evaluations", ylabel="hypervolume (1 = start-up box)", title=results.study)
    axis.legend(frameon=False)
    _tidy(axis)
    return _png(figure)


def _with_colours(results: Results) -> list[tuple[Baseline, str]]:
    """Return the baselines that have any value, each with its colour."""
    coloured = zip(results.baselines, itertools.cycle(_BASELINE_COLOURS), strict=False)
    return [(baseline, colour) for baseline, colour in coloured if baseline.values]


@final
@dataclass(frozen=True)
class _Panel:
    """One picture of the front: the quality over another objective.

    Args:
        axis: Where to draw.
        results: What the run found.
        column: Column of the other objective among the trials' values.
    """

    axis: Axes
    results: Results
    column: int

    def draw(self, marked: str | None) -> None:
        """Draw everything, with the winner of that id pointed out."""
        self._draw_evaluated()
        self._draw_baselines()
        self._draw_winners(marked)
        self._draw_originals()
        self._name_axes()
        _tidy(self.axis)

    @property
    def _objective(self) -> Objective:
        return self.results.objectives[self.column]

    def _list_credible(self) -> FloatArray:
        """Return the values of the evaluated architectures, without those too good to be true.

        One of these would leave no room for the others.
        """
        objectives, values = self.results.objectives, self.results.values
        costs = np.array([[o.cost(v) for o, v in zip(objectives, row, strict=True)] for row in values])
        credible: FloatArray = np.array(values)[are_credible(costs)]
        return credible

    def _draw_evaluated(self) -> None:
        values, front = self._list_credible(), np.array(self.results.values)[self.results.front]
        self.axis.scatter(
            values[:, self.column], values[:, 0], s=14, c=_GREY, label="evaluated (search split)"
        )
        self.axis.scatter(
            front[:, self.column], front[:, 0], s=22, c=_BLUE, label="search front, all objectives"
        )

    def _draw_baselines(self) -> None:
        for baseline, colour in _with_colours(self.results):
            rows = np.array(baseline.values)
            self.axis.scatter(
                rows[:, self.column],
                rows[:, 0],
                s=26,
                marker="x",
                c=colour,
                alpha=0.7,
                label=f"{baseline.name} (search split)",
            )

    def _draw_winners(self, marked: str | None) -> None:
        """Draw every variant of every winner, each kind with a marker of its own."""
        names = dict.fromkeys(variant.name for winner in self.results.winners for variant in winner.variants)
        for name, marker in zip(names, itertools.cycle(_VARIANT_MARKERS), strict=False):
            points = {
                winner.id: self._place(variant)
                for winner in self.results.winners
                for variant in winner.variants
                if variant.name == name
            }
            self.axis.scatter(
                [x for x, _ in points.values()],
                [y for _, y in points.values()],
                s=110 if marker == "*" else 45,
                marker=marker,
                c=_ORANGE if name == PLAIN else _GREEN,
                edgecolors="black",
                linewidths=0.5,
                zorder=3,
                label=literal(f"winners {name} (test split)"),
            )
            if marked is not None and name == PLAIN:
                self._point_out(*points[marked])

    def _place(self, variant: Variant) -> tuple[float, float]:
        return variant.values[self._objective.name].value, variant.values[self.results.quality.name].value

    def _point_out(self, x: float, y: float) -> None:
        self.axis.scatter([x], [y], s=380, facecolors="none", edgecolors="crimson", linewidths=2, zorder=4)
        self.axis.annotate("this model", (x, y), (8, -18), textcoords="offset points", color="crimson")

    def _draw_originals(self) -> None:
        for original, marker in zip(self.results.original, ("X", "P"), strict=False):
            x, y = self._place(original.variants[0])
            label = f"{original.name} (test split)"
            self.axis.scatter([x], [y], s=70, marker=marker, c="black", zorder=3, label=label)

    def _name_axes(self) -> None:
        objective, values = self._objective, self._list_credible()[:, self.column]
        if values.min() > 0 and values.max() > 10 * values.min():
            scale_by_log(self.axis)
        unit = f" [{objective.unit}]" if objective.unit else ""
        self.axis.set(xlabel=literal(f"{objective.name}{unit}"), ylabel=literal(self.results.quality.name))


def add_legend(figure: Figure, axis: Axes) -> None:
    """Name what is drawn on an axis below a figure, in as many columns as there is room for, four at most."""
    handles, labels = axis.get_legend_handles_labels()
    for columns in (4, 3, 2, 1):
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def scale_by_log(axis: Axes) -> None:
    """Make the horizontal axis logarithmic, with labels such as 20k that stand apart from each other."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    subs = (1.0, 2.0, 5.0) if high < _WIDE_RANGE * low else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(subs=subs))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    """Return 20k for 20,000."""
    return EngFormatter(sep="")(value) if value >= 1000 else f"{value:g}"


def literal(text: str) -> str:
    """Return a user's text so that matplotlib finds no formula in it."""
    return plain(text).replace("$", r"\$")


def _tidy(axis: Axes) -> None:
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    return buffer.getvalue()
