"""What a latency is made of: a first guess from what is known besides the options, and components that correct it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nas.devices.latency_features import Rows
from nas.space import FloatArray

PRIORS = {
    "level": (0.2, 0.7),
    "slope": (0.1, 1.0),
    "constant": (0.05, 1.0),
    "others": (0.05, 1.0),
    "factors": (0.03, 1.0),
    "terms": (0.05, 1.0),
    "factors alike": (0.05, 1.0),
    "terms alike": (0.1, 1.0),
    "ordered factors": (0.03, 1.0),
    "ordered terms": (0.03, 1.0),
    "noise": (0.02, 0.7),
}
"""By which share each component of the model moves latencies, and the standard deviation of that share's logarithm.
Chosen on latencies of NAS-Bench-201 and Once-for-All MobileNetV3 on a dozen devices (benchmarks/latency_model.py)."""
_USUAL_SLOPE = 1.0  # what is twice as slow there is twice as slow here
_SLOPES = (0.1, 2.0)  # least and largest power, so that one odd measurement can't turn the order round
_WEIGHT_OF_SLOPE = 0.1  # the prior counts as so much of a measured architecture of usual distance
_CENTRED = {"slope", "constant", "others"}


@final
@dataclass(frozen=True)
class PowerLaws:
    """A guess from each known column, and how much each is trusted.

    Args:
        level: Mean log latency.
        middles: ``(k,)`` means of the columns' logarithms.
        slopes: ``(k,)``.
        weights: ``(k,)``, of sum 1.
    """

    level: float
    middles: FloatArray
    slopes: FloatArray
    weights: FloatArray

    @classmethod
    def without_data(cls, reference: Rows) -> PowerLaws:
        """Return what is believed before anything is measured: all columns say the same."""
        count = reference.logs.shape[1]
        middles = reference.logs.mean(axis=0)
        return cls(0.0, middles, np.full(count, _USUAL_SLOPE), np.full(count, 1 / max(count, 1)))

    @classmethod
    def fit(cls, rows: Rows, reference: Rows, logs: FloatArray) -> PowerLaws:
        """Return what ``(n,)`` logarithms of measured latencies say of each column, and of its worth."""
        level, count = float(logs.mean()), len(logs)
        middles = rows.logs.mean(axis=0)
        away, heights = rows.logs - middles, logs - level
        prior = _WEIGHT_OF_SLOPE * reference.logs.var(axis=0) + 1e-12
        along = np.square(away).sum(axis=0) + prior
        slopes = np.clip((heights @ away + prior * _USUAL_SLOPE) / along, *_SLOPES)
        # How far a measurement pulls the line to itself: without it, errors on what was fitted would look too small.
        leverages = np.minimum(1 / count + np.square(away) / along, 0.9)
        off = (heights[:, None] - away * slopes) / (1 - leverages)
        evidence = -0.5 * count * np.log(np.square(off).mean(axis=0) + 1e-6)
        # As if each column were a model of its own and all of these equally likely before.
        weights = np.exp(evidence - evidence.max(initial=-np.inf))
        return cls(level, middles, slopes, weights / max(weights.sum(), 1e-300))

    def logs(self, rows: Rows) -> FloatArray:
        """Return the logarithms of the guessed latencies."""
        guesses: FloatArray = self.level + (rows.logs - self.middles) @ (self.slopes * self.weights)
        return guesses


@final
class Components:
    """The components of f, each scaled so that with a share of 1 its mean variance in the reference is 1."""

    def __init__(self, reference: Rows, guess: PowerLaws) -> None:
        self._guess = guess
        logs = guess.logs(reference)
        self._level, self._means = float(logs.mean()), _means(reference)
        self._spread = float(logs.std())
        raw = self._raw(reference)
        self._centres = {name: block.mean(axis=0) if name in _CENTRED else 0.0 for name, block in raw.items()}
        sizes = {
            name: float(np.square(b - self._centres[name]).sum(axis=1).mean()) for name, b in raw.items()
        }
        self._sizes = {name: np.sqrt(size) for name, size in sizes.items() if size > 1e-12}
        self.names = list(self._sizes)
        self.prior_shares = np.array([PRIORS[name][0] ** 2 for name in self.names])

    def _raw(self, rows: Rows) -> dict[str, FloatArray]:
        """Return every component's numbers, unscaled, ``(n, *)`` each."""
        away = self._guess.logs(rows) - self._level
        # A component in milliseconds is the smaller a share the slower the architecture.
        inverse = np.exp(-away)[:, None]
        options, alike, ordered, logs = (
            getattr(rows, name) - self._means[name] for name in ("options", "alike", "ordered", "logs")
        )
        others = logs - away[:, None] if self._spread > 0 else logs[:, :0]
        return {
            "level": np.ones((len(away), 1)),
            "slope": away[:, None],
            "constant": inverse,
            "others": others if logs.shape[1] > 1 else logs[:, :0],
            "factors": options,
            "terms": options * inverse,
            "factors alike": alike,
            "terms alike": alike * inverse,
            "ordered factors": ordered,
            "ordered terms": ordered * inverse,
        }

    def blocks(self, rows: Rows) -> list[FloatArray]:
        """Return the scaled components of rows, ``(n, *)`` each, in the order of ``names``."""
        raw = self._raw(rows)
        return [(raw[name] - self._centres[name]) / self._sizes[name] for name in self.names]

    @staticmethod
    def weigh(blocks: list[FloatArray], shares: FloatArray) -> FloatArray:
        """Return ``(n, *)`` features with independent standard normal weights."""
        return np.concatenate(
            [block * np.sqrt(share) for block, share in zip(blocks, shares, strict=True)], axis=1
        )


def _means(reference: Rows) -> dict[str, FloatArray]:
    return {name: getattr(reference, name).mean(axis=0) for name in ("options", "alike", "ordered", "logs")}
