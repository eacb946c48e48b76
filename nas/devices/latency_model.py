"""Latency of any architecture from few measured ones, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.stats import t as student_t

from nas.devices.latency_components import PRIORS, Components, PowerLaws
from nas.devices.latency_features import Encoder, Known, know_nothing
from nas.devices.latency_posterior import Posterior, draw_shares, mix_moments
from nas.errors import StudyError
from nas.space import FloatArray, IntArray, SearchSpace

_LEAST = 0.1  # of what the first guess says: a latency is not 0
_WEIGHT_OF_PRIOR_INTERVAL = 20.0  # counts as so many measured architectures that lie where they are expected
_LEAST_FREEDOM = 6.0
"""Degrees of freedom of Student's t with few measurements, of which the deviations are themselves uncertain."""
_LEVEL = 0.9
"""Share of architectures whose latency is to lie in its interval."""
_NUM_REFERENCE = 512
"""Random architectures, which stand for the whole space where it isn't said which ones matter."""


@final
@dataclass(frozen=True)
class LatencyPrediction:
    """Latencies that nobody measured.

    Args:
        ms: ``(n,)`` milliseconds.
        std: ``(n,)`` standard deviations of these.
        low: ``(n,)`` lower ends of their 90 % intervals.
        high: ``(n,)`` upper ends.
    """

    ms: FloatArray
    std: FloatArray
    low: FloatArray
    high: FloatArray


@final
@dataclass(frozen=True)
class HeldOut:
    """How far predictions of architectures are off that the model was not told.

    Args:
        error: Mean distance of predicted / measured from 1.
        coverage: Share of measurements inside their 90 % interval.
        count: Architectures.
    """

    error: float
    coverage: float
    count: int


@final
class LatencyModel:
    """Predicts latencies: what other devices say, corrected by what was measured here.

    A power law of each known column is fitted to the measured latencies; their mean, weighted by how well each
    predicts what it was not fitted to, is the first guess m. The latency is then ``m (1 + f)``, with f a sum of
    small components, each of which has a normal prior (Bayesian linear regression, Rasmussen 2006, section 2.1): a
    factor per option, and a term in milliseconds per option, that is one divided by m; both for each choice, and alike
    for all choices of the same options; also linear in options that are numbers. Over how much each component matters
    the prediction is averaged.

    Args:
        space: Space of the architectures.
        known: What is known of any architecture: ``(n, k)`` positive numbers, such as latencies on other devices.
        reference: ``(r, num_choices)`` positions among which predictions matter; random ones unless given.
    """

    def __init__(
        self, space: SearchSpace, known: Known = know_nothing, reference: IntArray | None = None
    ) -> None:
        if reference is None:
            reference = space.sample_indices(_NUM_REFERENCE, np.random.default_rng(0))
        self._encoder = Encoder(space, known)
        self._reference = self._encoder.rows(reference)
        self._guess = PowerLaws.without_data(self._reference)
        self._components = Components(self._reference, self._guess)
        self._shares = self._components.prior_shares
        self._noise = PRIORS["noise"][0] ** 2

    def fit(self, indices: IntArray, ms: FloatArray) -> HeldOut:
        """Learn from ``(n, num_choices)`` positions and their latencies, n >= 2; forget earlier ones.

        Returns:
            How far each measured latency is from what the others predict.

        Raises:
            StudyError: there are fewer than two, or a latency is not finite and above 0.
        """
        if len(ms) < 2 or not (np.isfinite(ms) & (ms > 0)).all():
            raise StudyError(
                f"a latency model was given {len(ms)} latencies, the smallest {np.min(ms, initial=np.inf)} ms: two or "
                "more finite ones above 0 are expected."
            )
        rows = self._encoder.rows(indices)
        self._guess = PowerLaws.fit(rows, self._reference, np.log(ms))
        self._components = Components(self._reference, self._guess)
        first = np.exp(self._guess.logs(rows))
        self._residuals = ms / first - 1
        blocks = self._components.blocks(rows)
        draws = draw_shares(blocks, self._residuals, self._components)
        self._shares, self._noise = draws[:, :-1].mean(axis=0), float(draws[:, -1].mean())
        self._posteriors = [Posterior(blocks, self._residuals, drawn) for drawn in draws]
        return self._calibrate(ms, first)

    def _calibrate(self, ms: FloatArray, first: FloatArray) -> HeldOut:
        """Calibrate the deviations by what each measurement is off from what the others predict."""
        off, variances = mix_moments([posterior.leave_one_out() for posterior in self._posteriors])
        scores, count = np.abs(off) / np.sqrt(variances), len(ms)
        prior = _WEIGHT_OF_PRIOR_INTERVAL
        self._stretch = float(np.sqrt((prior + np.square(scores).sum()) / (prior + count)))
        expected = student_t.ppf(0.5 + _LEVEL / 2, max(_LEAST_FREEDOM, count / 2))
        found = np.quantile(scores, min(1.0, _LEVEL * (count + 1) / count))
        self._reach = float(np.exp((prior * np.log(expected) + count * np.log(found)) / (prior + count)))
        return HeldOut(float(np.mean(np.abs(off) * first / ms)), float(np.mean(scores <= self._reach)), count)

    def predict(self, indices: IntArray) -> LatencyPrediction:
        """Predict the latencies of ``(n, num_choices)`` positions, measured on this device once."""
        rows = self._encoder.rows(indices)
        first = np.exp(self._guess.logs(rows))
        blocks = self._components.blocks(rows)
        mean, variance = mix_moments([posterior.at(blocks) for posterior in self._posteriors])
        ms = first * np.maximum(1 + mean, _LEAST)
        std = first * np.sqrt(variance)
        reach = self._reach * std
        return LatencyPrediction(ms, self._stretch * std, np.maximum(ms - reach, 0.0), ms + reach)

    def choose(self, candidates: IntArray, count: int, measured: IntArray | None = None) -> IntArray:
        """Return which candidates to measure next: together they tell most about the reference architectures.

        Each is the one that lowers the summed variance of predictions most, given those before it (active learning
        by Cohn 1996). What is uncertain is taken from the last fit, or from the priors before there was one.

        Args:
            candidates: ``(n, num_choices)`` positions.
            count: How many to choose.
            measured: ``(m, num_choices)`` positions of those that are known already.

        Returns:
            ``(count,)`` rows of ``candidates``, fewer where there aren't as many.
        """
        features = self._features(candidates)
        reference = self._components.weigh(self._components.blocks(self._reference), self._shares)
        posterior = np.eye(features.shape[1])
        for row in self._features(measured) if measured is not None else ():
            posterior = _update_covariance(posterior, row, self._noise)
        chosen: list[int] = []
        free = np.ones(len(candidates), dtype=np.bool_)
        spread = features @ posterior
        shared = spread @ reference.T
        for _ in range(min(count, len(candidates))):
            variances = np.einsum("nd,nd->n", spread, features) + self._noise
            gains = np.square(shared).sum(axis=1) / variances
            best = int(np.argmax(np.where(free, gains, -1.0)))
            chosen.append(best)
            free[best] = False
            along = spread @ features[best] / variances[best]
            spread, shared = spread - np.outer(along, spread[best]), shared - np.outer(along, shared[best])
        return np.array(chosen, dtype=np.int64)

    def _features(self, indices: IntArray) -> FloatArray:
        return self._components.weigh(self._components.blocks(self._encoder.rows(indices)), self._shares)


def _update_covariance(posterior: FloatArray, row: FloatArray, noise: float) -> FloatArray:
    """Return the covariance of weights after one more measurement."""
    along = posterior @ row
    updated: FloatArray = posterior - np.outer(along, along) / (row @ along + noise)
    return updated
