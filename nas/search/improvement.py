"""Choosing a batch by the hypervolume it is expected to add."""

from __future__ import annotations

import heapq
from typing import Protocol

import numpy as np

from nas import pareto
from nas.search.record import ReferenceBox
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
    box = ReferenceBox.around(known)
    shape = (len(predicted), front.shape[1])
    samples = [predicted.at(rng.standard_normal(shape)) for _ in range(_NUM_SAMPLES)]
    fronts = [front] * _NUM_SAMPLES
    volume = box.hypervolume(front)  # mean over the samples' fronts

    def expected_gain(row: int) -> float:
        volumes = [box.hypervolume(np.vstack([f, s[row]])) for f, s in zip(fronts, samples, strict=True)]
        return float(np.mean(volumes)) - volume

    # A gain only shrinks as the fronts grow, so an outdated one is a bound (lazy greedy, Minoux 1978).
    queue = [(-expected_gain(row), row, 0) for row in range(shape[0])]
    heapq.heapify(queue)
    picked: list[int] = []
    while queue and len(picked) < count:
        _, row, num_picked_then = heapq.heappop(queue)
        if num_picked_then == len(picked):
            picked.append(row)
            fronts = [np.vstack([f, s[row]]) for f, s in zip(fronts, samples, strict=True)]
            volume = float(np.mean([box.hypervolume(f) for f in fronts]))
        else:
            heapq.heappush(queue, (-expected_gain(row), row, len(picked)))
    return picked
