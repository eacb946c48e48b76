"""Pictures of texts, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

_WRONG = "#d9722c"
_INCHES = 0.11
"""Width of a character of this size."""


def answers_png(rows: Sequence[tuple[str, str, str]]) -> bytes:
    """Return a table of texts: source, true answer, and the answer that was found, in colour where it is wrong."""
    lines = [("source", "truth", "predicted"), *rows]
    widths = [_INCHES * (2 + max(len(line[column]) for line in lines)) for column in range(3)]
    figure = Figure(figsize=(sum(widths), 0.28 * len(lines) + 0.1))
    for number, line in enumerate(lines):
        height = 1 - (number + 0.5) / len(lines)
        for column, text in enumerate(line):
            wrong = number > 0 and column == 2 and line[1] != line[2]
            figure.text(
                (sum(widths[:column]) + _INCHES) / sum(widths),
                height,
                text,
                family="monospace",
                fontsize=10,
                weight="bold" if number == 0 else "normal",
                color=_WRONG if wrong else "black",
                va="center",
                parse_math=False,
            )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
