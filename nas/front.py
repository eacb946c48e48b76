"""Reading a front: the best model within a budget, what a looser budget buys, knees, comparisons, sets of models.

Pure functions on arrays of costs (minimised); nothing here knows of requests, pages or files.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from nas import pareto
from nas.objective import Measurement, Objective

FloatArray = NDArray[np.float64]
Verdict = Literal["better", "worse", "equal", "within noise"]

_STANDARD_DEVIATIONS = 2.0
"""A difference of fewer is called noise: chance makes one as large in one case of twenty."""
_NUM_WEIGHTS = 401
"""Steps of a quarter of a percent. A knee is best for more than twice an average member's share of the weights, so a
front of a hundred members still loses none between two steps."""
_MAX_SETS = 100_000
"""As many sets of models are compared within a second or two."""


@final
@dataclass(frozen=True)
class Upgrade:
    """The next better model that a looser budget lets in.

    Args:
        row: Row of the model.
        column: The budget that must be loosened, and the only one.
        extra: By how much, at least; in the column's unit.
        gain: By how much its goal is better, in the goal's unit; None where nothing fitted before.
    """

    row: int
    column: int
    extra: float
    gain: float | None


@final
@dataclass(frozen=True)
class FrontComparison:
    """Two fronts in the box that both span together.

    Args:
        hypervolumes: Hypervolumes of the first and the second, as a multiple of the box; reference point a tenth of the
            range beyond its worst corner.
        covered: The share of each front that a member of the other is at least as good as in every column
            (Zitzler 1999).
    """

    hypervolumes: tuple[float, float]
    covered: tuple[float, float]


@final
@dataclass(frozen=True)
class ModelSet:
    """Models that serve several devices together.

    Args:
        rows: Rows of the models.
        chosen: Row of the model for each device: the best of the set that it can run.
        lost: By how much that is worse than the device's own best, for each device; inf where it can run none.
        is_exact: Whether all sets of this size were compared; a large number of them is built up greedily.
    """

    rows: tuple[int, ...]
    chosen: tuple[int, ...]
    lost: tuple[float, ...]
    is_exact: bool


def sets_for_devices(quality: FloatArray, fits: NDArray[np.bool_], allowed: float) -> list[ModelSet]:
    """Return the best set of one model, of two, and so on, up to the first that keeps every device within a loss.

    Of several that do, the one is taken whose models are best on average over devices; of several that don't, one that
    the most devices can run, whose largest loss is smallest, and then the best on average.

    Args:
        quality: ``(n,)`` float64 costs of the models, minimised.
        fits: ``(n, d)`` which model a device can run, d >= 1; every device one at least.
        allowed: By how much a device's model may be worse than the best that it can run.
    """
    lost = np.where(fits, quality[:, None], np.inf)
    lost -= lost.min(axis=0)
    useful = np.flatnonzero(
        pareto.non_dominated(lost)
    )  # one that is nowhere better than another is never needed
    found: list[ModelSet] = []
    while not found or max(found[-1].lost) > allowed:
        found.append(_best_set(lost, useful, len(found) + 1, allowed, found))
    return found


def _best_set(
    lost: FloatArray, useful: NDArray[np.int64], size: int, allowed: float, smaller: list[ModelSet]
) -> ModelSet:
    """Return the best set of some size, among all of them, or of those that add a model to the best smaller one."""
    is_exact = math.comb(len(useful), size) <= _MAX_SETS
    sets: Iterable[tuple[int, ...]] = itertools.combinations(useful.tolist(), size)
    if not is_exact:
        sets = ((*smaller[-1].rows, row) for row in useful.tolist() if row not in smaller[-1].rows)

    def badness(rows: tuple[int, ...]) -> tuple[float, float, float]:
        least = lost[list(rows)].min(axis=0)
        served = least[np.isfinite(least)]
        return len(least) - len(served), max(float(served.max(initial=0.0)), allowed), float(served.mean())

    rows = min(sets, key=badness)
    chosen = [rows[at] for at in lost[list(rows)].argmin(axis=0)]
    losses = tuple(float(lost[row, device]) for device, row in enumerate(chosen))
    return ModelSet(rows, tuple(chosen), losses, is_exact)


def best_within(costs: FloatArray, limits: FloatArray, goal: int) -> int | None:
    """Return the row that is best in one column among those within all limits.

    Args:
        costs: ``(n, m)`` float64, minimised, finite; may be empty.
        limits: ``(m,)``; inf where there is none. A cost equal to its limit is within it.
        goal: Column to minimise. Of equal rows the one that is best over all columns, scaled, is taken.

    Returns:
        Row, or None where nothing fits.
    """
    fits = np.flatnonzero((costs <= limits).all(axis=1))
    if len(fits) == 0:
        return None
    first = fits[costs[fits, goal] == costs[fits, goal].min()]
    return int(first[np.argmin(scale_costs(costs)[first].sum(axis=1))])


def find_upgrades(costs: FloatArray, limits: FloatArray, goal: int) -> list[Upgrade]:
    """Return what loosening each budget, alone and as little as possible, would buy.

    Args:
        costs: As for :func:`best_within`.
        limits: As for :func:`best_within`.
        goal: As for :func:`best_within`.

    Returns:
        At most one step for each finite limit, in the order of columns. None for a budget where no amount
        of loosening it alone lets in anything better.
    """
    best = best_within(costs, limits, goal)
    target = np.inf if best is None else costs[best, goal]
    steps = []
    for column in np.flatnonzero(np.isfinite(limits)):
        others = np.delete(np.arange(costs.shape[1]), column)
        fits = (costs[:, others] <= limits[others]).all(axis=1) & (costs[:, column] > limits[column])
        better = np.flatnonzero(fits & (costs[:, goal] < target))
        if len(better) == 0:
            continue
        row = int(better[np.lexsort((costs[better, goal], costs[better, column]))[0]])
        gain = None if best is None else float(target - costs[row, goal])
        steps.append(Upgrade(row, int(column), float(costs[row, column] - limits[column]), gain))
    return steps


def knees(costs: FloatArray, count: int = 3) -> list[int]:
    """Return the front members after which each further step costs much more than it buys.

    By expected marginal utility (Branke 2004, section 3.2): for every weighting of the two scaled costs,
    the best member gets what the second best would lose; averaged over weightings. A knee gets more than
    twice the front's average. The two ends are none.

    Args:
        costs: ``(n, 2)`` float64, minimised; dominated rows are never knees.
        count: How many at most.

    Returns:
        Rows of ``costs``, the most pronounced first; empty for a straight front or fewer than three members.
    """
    front = np.flatnonzero(pareto.non_dominated(costs))
    if len(front) < 3:
        return []
    weights = np.linspace(0.0, 1.0, _NUM_WEIGHTS)
    scores = np.outer(weights, scale_costs(costs[front])[:, 0]) + np.outer(
        1 - weights, scale_costs(costs[front])[:, 1]
    )
    order = np.argsort(scores, axis=1)
    rows = np.arange(len(weights))
    loss = scores[rows, order[:, 1]] - scores[rows, order[:, 0]]
    utility = np.bincount(order[:, 0], weights=loss, minlength=len(front))
    ends = costs[front].argmin(axis=0)
    pronounced = np.flatnonzero(utility > max(2 * utility.mean(), 1e-9))
    ranked = sorted(set(pronounced) - set(ends), key=lambda row: -utility[row])
    return [int(front[row]) for row in ranked[:count]]


def compare_fronts(first: FloatArray, second: FloatArray) -> FrontComparison:
    """Compare two sets by hypervolume and coverage, in the box that both fronts span together.

    Args:
        first: ``(n, m)`` float64, minimised, n >= 1; dominated rows change nothing.
        second: ``(k, m)``, the same columns, k >= 1.
    """
    fronts = [costs[pareto.non_dominated(costs)] for costs in (first, second)]
    ours, theirs = np.split(scale_costs(np.concatenate(fronts)), [len(fronts[0])])
    reference = np.full(first.shape[1], pareto.REFERENCE)
    return FrontComparison(
        (pareto.hypervolume(ours, reference), pareto.hypervolume(theirs, reference)),
        (_cover(fronts[0], fronts[1]), _cover(fronts[1], fronts[0])),
    )


def verdict(objective: Objective, before: Measurement, after: Measurement) -> Verdict:
    """Say what changing from one model to another does to one objective.

    Two measurements differ when they are more than two standard deviations of their difference apart.
    """
    difference = objective.cost(after.value) - objective.cost(before.value)
    if difference == 0:
        return "equal"
    if is_noise(difference, before.spread, after.spread):
        return "within noise"
    return "better" if difference < 0 else "worse"


def is_noise(difference: float, *spreads: float) -> bool:
    """Whether a difference of values with these standard deviations may be chance."""
    return abs(difference) <= _STANDARD_DEVIATIONS * float(np.hypot.reduce(spreads))


def _cover(front: FloatArray, other: FloatArray) -> float:
    reached = [bool((other <= member).all(axis=1).any()) for member in front]
    return float(np.mean(reached))


def scale_costs(costs: FloatArray) -> FloatArray:
    """Return costs with 0 at the lowest and 1 at the highest of each column; constant columns are 0."""
    extent = np.ptp(costs, axis=0)
    return np.asarray((costs - costs.min(axis=0)) / np.where(extent > 0, extent, 1.0))
