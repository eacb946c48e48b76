"""What a choice of architectures loses against the best that all of them reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas import pareto
from nas.agreement import Interval
from nas.space import FloatArray

_DRAWS = 400
"""Chosen: ten of them lie beyond each end of a 95 % interval."""


@final
@dataclass(frozen=True)
class Regret:
    """What was lost by choosing the winners, and not others, for what all of them reach on their own.

    Args:
        count: Architectures that were compared, the winners among them.
        best: By how much the best winner is worse than the best architecture that costs no more than it in any
            other objective, in the quality's unit; 0 where none is better.
        front: Hypervolume of the winners over that of all.
    """

    count: int
    best: Interval
    front: Interval


def regret(
    costs: FloatArray, winners: NDArray[np.bool_], spreads: FloatArray, *, sampled: bool, seed: int = 0
) -> Regret | None:
    """Return what the winners lose, and how sure that is.

    The intervals are percentiles of 400 draws, in which qualities move by their noise and the architectures that
    aren't winners are a bootstrap sample, where they are a sample. The best of many noisy values is flattered, so
    both values and intervals lean to more regret than there is, where there are many others or few winners.

    Args:
        costs: ``(n, m)`` finite, minimised; the first column is the quality after a training of its own.
        winners: ``(n,)``, which rows were chosen.
        spreads: ``(n,)`` standard deviations of the qualities, 0 where they are exact.
        sampled: Whether the others are a sample of those that could have been chosen.
        seed: Seed of the draws.

    Returns:
        None where nothing was chosen, or everything was.
    """
    if winners.all() or not winners.any():
        return None
    rng = np.random.default_rng(seed)
    box = _Box(costs)
    chosen, others = np.flatnonzero(winners), np.flatnonzero(~winners)
    found = []
    for _ in range(_DRAWS):
        rows = rng.choice(others, len(others)) if sampled else others
        moved = costs.copy()
        moved[:, 0] += spreads * rng.standard_normal(len(costs))
        parts = moved[chosen], moved[rows]
        found.append((measure_lost_points(*parts), box.measure_kept_share(*parts)))
    lost, kept = np.array(found).T
    values = (
        measure_lost_points(costs[chosen], costs[others]),
        box.measure_kept_share(costs[chosen], costs[others]),
    )
    return Regret(len(costs), _interval(values[0], lost, 0.0, np.inf), _interval(values[1], kept, 0.0, 1.0))


def measure_lost_points(winners: FloatArray, others: FloatArray) -> float:
    """Return by how much others that cost no more are better than the best winner; below 0 where none is.

    Args:
        winners: ``(k, m)`` costs; the first column is the quality's.
        others: ``(n, m)``.

    Returns:
        -inf where all others cost more in some objective.
    """
    best = winners[np.argmin(winners[:, 0])]
    at_most = others[(others[:, 1:] <= best[1:]).all(axis=1), 0]
    return float(best[0] - at_most.min(initial=np.inf))


@final
class _Box:
    """Hypervolume in the box that all costs span."""

    def __init__(self, costs: FloatArray) -> None:
        self._low, extent = costs.min(axis=0), np.ptp(costs, axis=0)
        self._extent = np.where(extent > 0, extent, 1.0)

    def measure_kept_share(self, winners: FloatArray, others: FloatArray) -> float:
        """Return the winners' hypervolume over that of all."""
        both = self._hypervolume(np.concatenate([winners, others]))
        return self._hypervolume(winners) / both if both > 0 else 1.0

    def _hypervolume(self, costs: FloatArray) -> float:
        scaled = (costs - self._low) / self._extent
        return pareto.hypervolume(scaled, np.full(costs.shape[1], pareto.REFERENCE))


def _interval(value: float, drawn: FloatArray, least: float, most: float) -> Interval:
    finite = drawn[np.isfinite(drawn)]
    if not np.isfinite(value):
        return Interval(least, least, least)
    low, high = np.percentile([*finite, value], [2.5, 97.5])
    return Interval(*(float(np.clip(end, least, most)) for end in (value, min(low, value), max(high, value))))
