"""Pareto dominance and the quality of fronts, on arrays of costs (minimised). Imports nothing of ours."""

from __future__ import annotations

import math
from statistics import NormalDist

import moocore
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
"""Two measurements differ where their difference would be chance in one case of twenty."""
REFERENCE = 1.1
"""Each coordinate of the reference point, where costs are scaled so that the worst ones are 1: a tenth of the range
beyond them, as in BoTorch's ``infer_reference_point``. At 1 itself the ends of a front would have no volume."""
_MAX_EXACT_OBJECTIVES = 5
"""An exact hypervolume takes time that grows exponentially with the objectives."""
_MAX_EXACT_ROWS = 12
"""So many rows of a front in more objectives are still counted exactly: those of largest volume, which have most of
it."""
_APPROXIMATION_DIRECTIONS = 4096
"""Chosen. The error falls nearly as fast as the number of directions grows, and the time grows with it."""


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


def non_dominated_beyond_noise(
    costs: FloatArray, spreads: FloatArray, confidence: float = CONFIDENCE
) -> NDArray[np.bool_]:
    """Return which rows no other one dominates beyond the noise: within the noise neither of two dominates.

    A row dominates another where it is as good in every exact column, and better by more than chance in every column in
    which either has a spread: intervals of confidence (Teich 2001), of the difference as in Mlakar 2014. So a row that
    is surely cheaper, but whose latency is lower by chance perhaps, leaves the other on the front.

    The ordinary front is always part of this one, and equal to it where all spreads are 0. The relation is
    transitive: two differences beyond hypot(a, b) and hypot(b, c) add up to more than hypot(a, c). Changing the
    unit of a column changes nothing.

    Args:
        costs: ``(n, m)`` float64, minimised, finite; may be empty. Of equal rows without spread the first is kept.
        spreads: ``(n, m)`` standard deviations of independent errors; 0 where a cost is exact.
        confidence: Confidence in a difference of two normal variables, both sides together; above 0, below 1.

    Returns:
        ``(n,)`` bool.

    Raises:
        ValueError: a cost or a spread is NaN.
    """
    _refuse_nan(costs)
    _refuse_nan(spreads)
    if not spreads.any():
        return non_dominated(costs)
    front = np.array([not dominators(costs, spreads, row, confidence).any() for row in range(len(costs))])
    exact = np.flatnonzero(~spreads.any(axis=1))
    _, first = np.unique(costs[exact], axis=0, return_index=True)
    front[np.setdiff1d(exact, exact[first])] = False
    return front


def dominators(
    costs: FloatArray, spreads: FloatArray, row: int, confidence: float = CONFIDENCE
) -> NDArray[np.bool_]:
    """Return which rows dominate one beyond the noise, ``(n,)``; see :func:`non_dominated_beyond_noise`."""
    return np.asarray(noise_margins(costs, spreads, row) > _standard_deviations(confidence))


def noise_margins(costs: FloatArray, spreads: FloatArray, row: int) -> FloatArray:
    """Return how surely each row dominates one, ``(n,)``: its least margin, in standard deviations of the difference.

    Infinite where it dominates and no column has noise, minus infinity where an exact column says that it doesn't.
    Above 0 it dominates by the values; below, only if they are off by so much together.

    Args:
        costs: As for :func:`non_dominated_beyond_noise`.
        spreads: As for :func:`non_dominated_beyond_noise`.
        row: Number of the row that may be dominated.
    """
    lead = costs[row] - costs
    noise = np.hypot(spreads, spreads[row])
    exact = np.where(lead < 0, -np.inf, np.inf)
    margins: FloatArray = np.divide(lead, noise, out=exact, where=noise > 0).min(axis=1)
    margins[(lead == 0).all(axis=1) & (noise == 0).all(axis=1)] = -np.inf
    return margins


def ties_within_noise(
    costs: FloatArray, spreads: FloatArray, confidence: float = CONFIDENCE
) -> NDArray[np.bool_]:
    """Return by which columns two rows are tied: one would dominate the other if these differed the right way.

    Args:
        costs: As for :func:`non_dominated_beyond_noise`.
        spreads: As for :func:`non_dominated_beyond_noise`.
        confidence: As for :func:`non_dominated_beyond_noise`.

    Returns:
        ``(n, n, m)`` bool, symmetric in the rows: for two that are tied, the columns in which they differ by no more
        than the noise.
    """
    bar, n = _standard_deviations(confidence), len(costs)
    margins = np.array([noise_margins(costs, spreads, row) for row in range(n)]).reshape(n, n)
    surely, perhaps = margins > bar, margins >= -bar
    tied = (perhaps | perhaps.T) & ~(surely | surely.T) & ~np.eye(n, dtype=np.bool_)
    noise = np.hypot(spreads[:, None], spreads[None])
    hidden = (np.abs(costs[:, None] - costs[None]) <= bar * noise) & (noise > 0)
    return np.asarray(tied[:, :, None] & hidden)


def _standard_deviations(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def find_constrained_front(
    costs: FloatArray, excess: FloatArray, spreads: FloatArray | None = None
) -> NDArray[np.bool_]:
    """Return which rows no other one dominates, of those that exceed the limits least (Deb 2002, section VI).

    Args:
        costs: ``(n, m)`` float64, minimised. Of equal rows the first alone is kept. May be empty.
        excess: ``(n,)`` by how much each row exceeds the limits; 0 where it meets them.
        spreads: ``(n, m)`` standard deviations, to take the front by :func:`non_dominated_beyond_noise`.

    Returns:
        ``(n,)`` bool.

    Raises:
        ValueError: a value is NaN.
    """
    least: NDArray[np.bool_] = excess == excess.min(initial=np.inf)
    noise = np.zeros_like(costs) if spreads is None else spreads
    least[least] = non_dominated_beyond_noise(costs[least], noise[least])
    return least


def hypervolume(costs: FloatArray, reference: FloatArray) -> float:
    """Return the volume that ``costs`` dominate, bounded by ``reference`` (Zitzler 1999).

    Exact up to five columns, and for fronts of up to twelve rows. Beyond, where exact computation may take
    minutes, the twelve rows that dominate most are exact, and what the others add is a deterministic
    approximation by directions: on random fronts of 13 to 100 rows in 6 to 12 columns mostly within 1 %, at
    worst 4 % off, so there another row may seem to lose up to 0.2 %.

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
        return _of_many_columns(inside[non_dominated(inside)], reference)
    return float(moocore.hypervolume(inside, ref=reference))


def _of_many_columns(front: FloatArray, reference: FloatArray) -> float:
    """Return the volume of ``(n, m)`` non-dominated costs; the largest rows, which decide most of it, are exact."""
    by_size = np.argsort(-(reference - front).prod(axis=1), kind="stable")
    largest = front[by_size[:_MAX_EXACT_ROWS]]
    exact = float(moocore.hypervolume(largest, ref=reference))
    if len(front) == len(largest):
        return exact
    return exact + _by_directions(front, reference) - _by_directions(largest, reference)


def _by_directions(front: FloatArray, reference: FloatArray) -> float:
    return float(moocore.hv_approx(front, ref=reference, nsamples=_APPROXIMATION_DIRECTIONS))


def igd_plus(costs: FloatArray, reference_front: FloatArray) -> float:
    """Return IGD+: how far ``costs`` are from a reference front, on average over the front (Ishibuchi 2015).

    Only what is worse than the reference counts, so a better set never has a larger value (weakly Pareto
    compliant; plain IGD isn't). Distances are Euclidean: scale the columns first where units differ.

    Args:
        costs: ``(n, m)`` float64, minimised; may hold dominated or equal rows.
        reference_front: ``(k, m)`` float64, k >= 1.

    Returns:
        Mean distance in the columns' common unit; 0.0 when every row of the reference is weakly
        dominated, infinity for an empty set.

    Raises:
        ValueError: a value is NaN, or the reference is empty.
    """
    _check_reference(costs, reference_front)
    if len(costs) == 0:
        return math.inf
    return float(moocore.igd_plus(costs, ref=reference_front))


def adrs(costs: FloatArray, reference_front: FloatArray) -> float:
    """Return the average distance from a reference set, relative: the measure of design-space exploration.

    Mean over the reference's rows r of the smallest, over the rows q of ``costs``, of
    max over j of max(0, (q_j - r_j) / r_j): by which fraction the nearest row is worse in its worst column.
    It needs no scaling, but for the same reason every cost of the reference must be positive: relative to
    0 any distance is infinite, relative to a negative number better looks worse. A maximised rate is
    compared as 1 - rate.

    Args:
        costs: ``(n, m)`` float64, minimised; any sign; may hold dominated or equal rows.
        reference_front: ``(k, m)`` float64, k >= 1, positive.

    Returns:
        A fraction: 0.0 when every row of the reference is weakly dominated, infinity for an empty set.

    Raises:
        ValueError: a value is NaN, or the reference is empty or not positive.
    """
    _check_reference(costs, reference_front)
    if (reference_front <= 0).any():
        raise ValueError(
            f"a reference front holds the cost {reference_front.min()}: ADRS is relative to it and needs positive "
            "costs; compare 1 - rate for a rate that is maximised, or use IGD+ on scaled costs."
        )
    if len(costs) == 0:
        return math.inf
    excess = costs[None, :, :] / reference_front[:, None, :] - 1.0
    return float(np.maximum(excess, 0.0).max(axis=2).min(axis=1).mean())


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


def _check_reference(costs: FloatArray, reference_front: FloatArray) -> None:
    _refuse_nan(costs)
    _refuse_nan(reference_front)
    if len(reference_front) == 0:
        raise ValueError("a reference front is empty: it needs one row at least.")


def _refuse_nan(costs: FloatArray) -> None:
    if np.isnan(costs).any():
        raise ValueError("costs hold NaN: a failed evaluation must not reach the front.")
