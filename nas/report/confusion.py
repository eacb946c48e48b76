"""Which classes a winner takes for which: a table, a picture, and the commonest mistakes in words."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report.figures import literal
from nas.report.tables import Table
from nas.space import IntArray

Confusions = Mapping[str, Sequence[Sequence[int]]]
"""How many items of the class of a row were taken for that of a column, by split."""

_MOST_CLASSES = 20
"""In a table, and with numbers in the picture."""
_SHOWN = 3
"""Pairs that are confused most often, in a sentence."""


def confusion_table(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Table | None:
    """Return true classes in rows, predicted ones in columns, and each class's share of right answers.

    None where there are too many classes for a table.
    """
    if len(confusion) > _MOST_CLASSES:
        return None
    named = _name_classes(names, len(confusion))
    rows = [
        [name, *map(str, row), f"{row[number] / sum(row):.1%}" if sum(row) else "–"]
        for number, (name, row) in enumerate(zip(named, confusion, strict=True))
    ]
    return Table(["is / taken for", *named, "right"], rows)


def commonest_confusions(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Return a sentence with the commonest mistakes."""
    counts, named = np.array(confusion), _name_classes(names, len(confusion))
    mistakes = counts - np.diag(np.diag(counts))
    pairs = [
        np.unravel_index(place, counts.shape) for place in np.argsort(-mistakes, axis=None, kind="stable")
    ]
    told = [
        f"{named[true]} for {named[taken]} ({counts[true, taken]} of {counts[true].sum()})"
        for true, taken in pairs[:_SHOWN]
        if mistakes[true, taken]
    ]
    return f"Most often it takes {', '.join(told)}." if told else "It takes no class for another."


def confusion_png(confusions: Confusions, names: Sequence[str]) -> bytes:
    """Return the matrices beside each other; colours are shares of the true class."""
    count = len(next(iter(confusions.values())))
    side = min(9.0, 1.8 + 0.34 * count)
    figure = Figure(figsize=(side * len(confusions), side), layout="constrained")
    axes = figure.subplots(1, len(confusions), squeeze=False)[0]
    for axis, (split, confusion) in zip(axes, confusions.items(), strict=True):
        _draw(axis, np.array(confusion), _name_classes(names, count))
        axis.set(title=f"{split} split", xlabel="taken for", ylabel="is")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")  # the layout forgets titles of squares
    return buffer.getvalue()


def _draw(axis: Axes, counts: IntArray, names: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) > _MOST_CLASSES:
        return
    labels = [literal(name) for name in names]
    axis.set_xticks(range(len(names)), labels, rotation=90, fontsize=8)
    axis.set_yticks(range(len(names)), labels, fontsize=8)
    for true, taken in np.argwhere(counts).tolist():
        colour = "white" if shares[true, taken] > 0.5 else "black"
        axis.text(taken, true, str(counts[true, taken]), ha="center", va="center", color=colour, fontsize=7)


def _name_classes(names: Sequence[str], count: int) -> Sequence[str]:
    """Return the names of the classes, or their numbers where not each has one."""
    return names if len(names) == count else [str(number) for number in range(count)]
