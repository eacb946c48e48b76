"""Choosing a batch by the hypervolume it is expected to add."""

from __future__ import annotations

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
    low, high = front.min(axis=0), front.max(axis=0)
    extent = np.where(high > low, high - low, np.maximum(np.abs(high), 1e-12))
    reference = np.full(front.shape[1], 1.1)
    shape = (len(predicted), front.shape[1])
    samples = [
        (predicted.at(rng.standard_normal(shape)) - low) / extent for _ in range(_NUM_SAMPLES)
    ]
    fronts = [(front - low) / extent] * _NUM_SAMPLES
    picked: list[int] = []
    gains = np.array([_gains(f, s, range(shape[0]), reference) for f, s in zip(fronts, samples, strict=True)])
    expected = gains.mean(axis=0)
    while len(picked) < min(count, shape[0]):
        # A gain only shrinks as the front grows, so an outdated gain is a bound (lazy greedy, Minoux 1978).
        row = int(np.argmax(expected))
        fresh = float(np.mean([_gains(f, s, [row], reference)[0] for f, s in zip(fronts, samples, strict=True)]))
        if fresh < np.partition(expected, -2)[-2] if shape[0] > 1 else False:
            expected[row] = fresh
            continue
        picked.append(row)
        expected[row] = -np.inf
        fronts = [np.vstack([f, s[row]]) for f, s in zip(fronts, samples, strict=True)]
    return picked


def _gains(front: FloatArray, costs: FloatArray, rows: object, reference: FloatArray) -> list[float]:
    before = pareto.hypervolume(front, reference)
    return [pareto.hypervolume(np.vstack([front, costs[row]]), reference) - before for row in rows]  # type: ignore[attr-defined]
