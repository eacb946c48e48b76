"""Choosing a batch by the hypervolume it is expected to add."""

from __future__ import annotations

import heapq
from typing import Protocol

import numpy as np

from nas import pareto
from nas.space import FloatArray

_NUM_SAMPLES = 16


class CostDistribution(Protocol):
    """Predicted costs of ``n`` candidates."""

    def __len__(self) -> int: ...

    def at(self, deviations: FloatArray) -> FloatArray:
        """Return ``(n, m)`` costs at these standard deviations from the mean, ``(n, m)``."""


def most_improving(
    predicted: CostDistribution, known: FloatArray, count: int, rng: np.random.Generator
) -> list[int]:
    """Return up to ``count`` candidates, each adding most expected hypervolume to those before it.

    Expected hypervolume improvement (Emmerich 2006) by Monte Carlo, greedy over the batch: a picked
    candidate joins the front of every sample at the costs it has there.

    Args:
        predicted: Of the candidates.
        known: ``(k, m)`` costs of the finished trials, k >= 1.
        count: How many to pick.
        rng: Draws the samples.
    """
    front = known[pareto.non_dominated(known)]
    # Of all that is known: a front's own worst corner would rule out better networks at a higher cost.
    low, high = known.min(axis=0), known.max(axis=0)
    extent = np.where(high > low, high - low, np.maximum(np.abs(high), 1e-12))
    reference = np.full(front.shape[1], 1.1)
    shape = (len(predicted), front.shape[1])
    samples = [(predicted.at(rng.standard_normal(shape)) - low) / extent for _ in range(_NUM_SAMPLES)]
    fronts = [(front - low) / extent] * _NUM_SAMPLES

    def expected_gain(row: int) -> float:
        gains = [_gain(f, s[row], reference) for f, s in zip(fronts, samples, strict=True)]
        return float(np.mean(gains))

    # A gain only shrinks as the fronts grow, so an outdated one is a bound (lazy greedy, Minoux 1978).
    queue = [(-expected_gain(row), row, 0) for row in range(shape[0])]
    heapq.heapify(queue)
    picked: list[int] = []
    while queue and len(picked) < count:
        _, row, num_picked_then = heapq.heappop(queue)
        if num_picked_then == len(picked):
            picked.append(row)
            fronts = [np.vstack([f, s[row]]) for f, s in zip(fronts, samples, strict=True)]
        else:
            heapq.heappush(queue, (-expected_gain(row), row, len(picked)))
    return picked


def _gain(front: FloatArray, cost: FloatArray, reference: FloatArray) -> float:
    return pareto.hypervolume(np.vstack([front, cost]), reference) - pareto.hypervolume(front, reference)
