"""What a latency model knows of an architecture: its options, and numbers such as its latency on other devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.errors import StudyError
from nas.space import FloatArray, IntArray, SearchSpace

Known = Callable[[IntArray], FloatArray]
"""Returns ``(n, k)`` positive numbers of ``(n, num_choices)`` positions, k the same in every call: latencies on other
devices, MACs, parameters. What is slow here tends to be large there."""


def know_nothing(indices: IntArray) -> FloatArray:
    """Return no number of each architecture."""
    return np.zeros((len(indices), 0))


@final
@dataclass(frozen=True)
class Rows:
    """Architectures as numbers.

    Args:
        options: ``(n, d)``, which options are set.
        alike: ``(n, g)``, how often an option is set in all choices that have the same options.
        ordered: ``(n, o)``, positions of options that are numbers, in [-1, 1].
        logs: ``(n, k)``, natural logarithms of what else is known.
    """

    options: FloatArray
    alike: FloatArray
    ordered: FloatArray
    logs: FloatArray

    def take(self, positions: IntArray) -> Rows:
        """Return some of them."""
        return Rows(
            self.options[positions],
            self.alike[positions],
            self.ordered[positions],
            self.logs[positions],
        )


@final
class Encoder:
    """Makes numbers of architectures.

    Args:
        space: Space of the architectures.
        known: What is known of them besides their options.
    """

    def __init__(self, space: SearchSpace, known: Known) -> None:
        self._space, self._known = space, known
        self._alike, self._ordered = _alike(space), _order_options(space)

    def rows(self, indices: IntArray) -> Rows:
        """Encode ``(n, num_choices)`` positions.

        Raises:
            StudyError: what is known of one is not a finite number above 0.
        """
        options = self._space.encode(indices)
        known = self._known(indices)
        if not (np.isfinite(known) & (known > 0)).all():
            wrong = known[~(np.isfinite(known) & (known > 0))]
            raise StudyError(
                f"a latency model was told {wrong[:3].tolist()} of architectures: finite numbers above 0 are "
                "expected, such as latencies on another device; leave out what is not known of all."
            )
        return Rows(options, options @ self._alike, options @ self._ordered, np.log(known))


def _alike(space: SearchSpace) -> FloatArray:
    """Return ``(d, g)``, which one-hot columns mean the same option of the same options."""
    sets: dict[str, list[int]] = {}
    starts = np.cumsum([0, *space.num_options])
    for choice, start in zip(space.choices, starts.tolist(), strict=False):
        sets.setdefault(repr(choice.options), []).append(start)
    columns = []
    for choice in space.choices:
        first, *others = sets.pop(repr(choice.options), [0])
        for position in range(len(choice.options)) if others else ():
            column = np.zeros(starts[-1])
            column[[start + position for start in (first, *others)]] = 1.0
            columns.append(column)
    return np.stack(columns, axis=1) if columns else np.zeros((starts[-1], 0))


def _order_options(space: SearchSpace) -> FloatArray:
    """Return ``(d, o)``: where the options of each choice of three numbers or more lie between the extremes."""
    columns = []
    starts = np.cumsum([0, *space.num_options])
    for choice, start in zip(space.choices, starts.tolist(), strict=False):
        numbers = [o for o in choice.options if isinstance(o, int | float) and not isinstance(o, bool)]
        # Two options lie on any line.
        if len(numbers) == len(choice.options) > 2:
            values = np.array(numbers, dtype=np.float64)
            column = np.zeros(starts[-1])
            column[start : start + len(values)] = 2 * (values - values.min()) / np.ptp(values) - 1
            columns.append(column)
    return np.stack(columns, axis=1) if columns else np.zeros((starts[-1], 0))
