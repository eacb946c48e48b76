"""Reading a front: the best model within a budget, what the next step buys, knees, comparisons.

Pure functions on arrays of costs (minimised); nothing here knows of requests, pages or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from nas import pareto
from nas.objective import Measurement, Objective

FloatArray = NDArray[np.float64]
Verdict = Literal["better", "worse", "equal", "within noise"]

_STANDARD_DEVIATIONS = 2.0
_NUM_WEIGHTS = 401
_BEYOND_WORST = 1.1


@final
@dataclass(frozen=True)
class Step:
    """The next better model that a looser budget lets in.

    Args:
        row: Of the model.
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
        hypervolumes: Of the first and the second, as a multiple of the box; reference point a tenth of the
            range beyond its worst corner.
        covered: The share of each front that a member of the other is at least as good as in every column
            (Zitzler 1999).
    """

    hypervolumes: tuple[float, float]
    covered: tuple[float, float]


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
    return int(first[np.argmin(_scaled(costs)[first].sum(axis=1))])


def next_steps(costs: FloatArray, limits: FloatArray, goal: int) -> list[Step]:
    """Return what loosening each budget, alone and as little as possible, would buy.

    Args:
        costs: As for :func:`best_within`.
        limits: The same.
        goal: The same.

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
        steps.append(Step(row, int(column), float(costs[row, column] - limits[column]), gain))
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
    scores = np.outer(weights, _scaled(costs[front])[:, 0]) + np.outer(
        1 - weights, _scaled(costs[front])[:, 1]
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
    scaled = np.split(_scaled(np.concatenate(fronts)), [len(fronts[0])])
    reference = np.full(first.shape[1], _BEYOND_WORST)
    return FrontComparison(
        (pareto.hypervolume(scaled[0], reference), pareto.hypervolume(scaled[1], reference)),
        (_covered(fronts[0], fronts[1]), _covered(fronts[1], fronts[0])),
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


def _covered(front: FloatArray, other: FloatArray) -> float:
    reached = [bool((other <= member).all(axis=1).any()) for member in front]
    return float(np.mean(reached))


def _scaled(costs: FloatArray) -> FloatArray:
    """Return costs with 0 at the lowest and 1 at the highest of each column; constant columns are 0."""
    extent = np.ptp(costs, axis=0)
    scaled: FloatArray = (costs - costs.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    return scaled
