"""Pareto dominance and hypervolume on arrays of costs (minimised). Imports nothing of ours."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MAX_EXACT_OBJECTIVES = 5
_APPROXIMATION_DIRECTIONS = 4096


def non_dominated(costs: FloatArray) -> NDArray[np.bool_]:
    """Return which rows no other row dominates (Deb 2002).

    Args:
        costs: ``(n, m)`` float64, minimised. Of equal rows the first alone is kept. May be empty.

    Returns:
        ``(n,)`` bool.

    Raises:
        ValueError: a value is NaN.
    """
    _refuse_nan(costs)
    if len(costs) == 0:
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(costs), dtype=np.bool_)


def hypervolume(costs: FloatArray, reference: FloatArray) -> float:
    """Return the volume that ``costs`` dominate, bounded by ``reference`` (Zitzler 1999).

    Exact up to five columns. Beyond, where exact computation takes seconds, a deterministic
    approximation by directions, good to about one percent.

    Args:
        costs: ``(n, m)`` float64, minimised; may hold dominated or equal rows.
        reference: ``(m,)``; rows not better in every column add nothing.

    Returns:
        Volume in the product of the columns' units; 0.0 for an empty set.

    Raises:
        ValueError: a value is NaN.
    """
    _refuse_nan(costs)
    inside = costs[(costs < reference).all(axis=1)]
    if len(inside) == 0:
        return 0.0
    if inside.shape[1] > _MAX_EXACT_OBJECTIVES:
        return float(moocore.hv_approx(inside, ref=reference, nsamples=_APPROXIMATION_DIRECTIONS))
    return float(moocore.hypervolume(inside, ref=reference))


def spread_subset(costs: FloatArray, count: int, reference: FloatArray, first: int) -> list[int]:
    """Return up to ``count`` rows of a front that keep most of its hypervolume.

    Greedy: each next row is the one that adds most (Guerreiro 2016 bounds the loss to 1 - 1/e).

    Args:
        costs: ``(n, m)`` float64, mutually non-dominated.
        count: How many rows at most.
        reference: ``(m,)`` point.
        first: The row that is taken in any case.

    Returns:
        Row numbers, ``first`` at the start, no repeats.
    """
    chosen = [first]
    while len(chosen) < min(count, len(costs)):
        rest = [row for row in range(len(costs)) if row not in chosen]
        volumes = [hypervolume(costs[[*chosen, row]], reference) for row in rest]
        chosen.append(rest[int(np.argmax(volumes))])
    return chosen


def _refuse_nan(costs: FloatArray) -> None:
    if np.isnan(costs).any():
        raise ValueError("costs hold NaN: a failed evaluation must not reach the front.")
