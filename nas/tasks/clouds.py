"""Pictures of point clouds, as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nas.space import FloatArray, IntArray

_SIDES = (-60.0, 120.0)
"""Degrees around the vertical from which a cloud is seen: opposite sides, so that nothing hides from both."""
_HEIGHT = 30.0
"""Degrees above the horizon."""
_IGNORED = "#d0d4da"
_MOST_DRAWN = 20_000
"""More points than a picture of this size has pixels for."""


def cloud_png(points: FloatArray, truth: IntArray, predicted: IntArray, class_names: Sequence[str]) -> bytes:
    """Return a cloud from two opposite sides, as it is beside what was predicted.

    Points without a class are grey in the left pictures; a point without all its coordinates isn't drawn. Of a cloud
    that is very large every so many-th point is drawn.

    Args:
        points: ``(n, 3 or more)``, coordinates first.
        truth: ``(n,)`` classes; any other number is no class.
        predicted: ``(n,)`` classes.
        class_names: By class.
    """
    step = max(1, math.ceil(len(points) / _MOST_DRAWN))
    places = np.asarray(points, dtype=np.float64)[::step, :3]
    colours = _colours(len(class_names))
    figure = Figure(figsize=(9.6, 7.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex="row", sharey="row")
    for row, side in zip(axes, _SIDES, strict=True):
        for axis, labels, title in zip(row, (truth, predicted), ("truth", "predicted"), strict=True):
            _draw(axis, places, np.asarray(labels)[::step], colours, side)
            axis.set_title(f"{title}, from {_compass(side)}", fontsize=10)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=name)
        for colour, name in zip(colours, class_names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw(axis: Axes, places: FloatArray, labels: IntArray, colours: Sequence[str], side: float) -> None:
    across, up, depth = project_points(places, side)
    order = np.argsort(depth)  # what is near covers what is behind it
    known = [colours[label] if 0 <= label < len(colours) else _IGNORED for label in labels[order].tolist()]
    size = 4000 / max(1, len(places)) ** 0.9 + 1
    axis.scatter(across[order], up[order], s=size, c=known, linewidths=0)
    axis.set_aspect("equal")
    axis.set_axis_off()


def project_points(places: FloatArray, side: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return how far to the right, how far up and how near ``(n, 3)`` points are, seen from far away.

    Args:
        places: Coordinates, the third one upwards.
        side: Degrees around the vertical where the eye is, counted from the first axis.
    """
    turn, rise = math.radians(side), math.radians(_HEIGHT)
    towards = places[:, 0] * math.cos(turn) + places[:, 1] * math.sin(turn)
    across = -places[:, 0] * math.sin(turn) + places[:, 1] * math.cos(turn)
    up = places[:, 2] * math.cos(rise) - towards * math.sin(rise)
    return across, up, towards * math.cos(rise) + places[:, 2] * math.sin(rise)


def _colours(count: int) -> list[str]:
    """Return a colour for each class; they repeat after twenty."""
    palette = matplotlib.colormaps["tab10" if count <= 10 else "tab20"]
    return [matplotlib.colors.to_hex(palette(number % palette.N)) for number in range(count)]


def _compass(side: float) -> str:
    names = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
    return f"the {names[round(side / 45) % 8]}"
