"""A Gaussian process that learns how far sources of knowledge can be trusted."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from scipy.optimize import minimize

from nas.space import FloatArray, IntArray, SearchSpace

MAX_BELIEVED = 256
"""Trials that one cost's model is fitted to, at most: cubic in time."""
_LIKENESS = 3.0
"""E-folds by which the covariance falls from an architecture to one that differs in all choices. Chosen, not
fitted: with a tenth of it all architectures would be alike, with ten times as much each would be a case of its own."""
_JITTER = 1e-6
"""Added to the diagonal, so that equal architectures don't make the matrix singular: a thousandth of a standard
deviation, in a cost that no measurement is so exact in."""
_OWN, _OTHER, _NOISE = -1.0, -2.0, -3.0
"""Prior means of the log variances, of standardised costs. Chosen: an architecture's own options are expected to
explain more than any source does, and both more than noise; what the trials show outweighs it soon."""
_SPREAD = 2.0
"""Prior standard deviation of the log variances: wide, a factor of seven either way."""
_BOUNDS = (-10.0, 2.0)
"""Bounds of the log variances. At the lower end a term explains nothing, and no exponential overflows on the way."""


@final
class Believer:
    """A Gaussian process of one cost that weighs what sources say by how much it explains.

    It is a sum of a term for each source, linear in the source's values; of a term for each choice, and one for the
    number of choices that have the same option; of a term that is alike for architectures which differ in few choices;
    and of noise. The variances of the terms maximise the posterior density (automatic relevance determination,
    MacKay 1992). So a source that explains nothing gets next to no weight, and a useful source loses weight once the
    trials themselves explain more.

    Args:
        space: Space of the architectures.
        indices: ``(n, num_choices)`` positions, n >= 2; those of at most :data:`MAX_BELIEVED` rows are used.
        costs: ``(n,)`` of these.
        said: ``(n, k)`` values of the sources, each with a standard deviation of about 1.
    """

    def __init__(self, space: SearchSpace, indices: IntArray, costs: FloatArray, said: FloatArray) -> None:
        # Evenly over time: the first trials are spread over the space, the last ones are near the front.
        kept = np.unique(np.linspace(0, len(costs) - 1, min(len(costs), MAX_BELIEVED)).astype(np.int64))
        self._terms, self._said = _Terms(space, indices[kept]), said[kept]
        self._center, scale = costs[kept].mean(), costs[kept].std()
        self._scale = scale if scale > 1e-12 * max(abs(self._center), 1.0) else 1.0
        targets = (costs[kept] - self._center) / self._scale
        own = self._terms.covariances(self._terms.encodings)
        terms = [*own, *(np.outer(column, column) for column in self._said.T)]
        noise, *variances = np.exp(_likeliest(terms, targets, len(own)))
        self._variances = np.array(variances)
        covariance = _mix(self._variances, terms) + (noise + _JITTER) * np.eye(len(kept))
        self._inverse = np.linalg.inv(covariance)
        self._solved = self._inverse @ targets
        self.weights: FloatArray = self._scale * self._variances[len(own) :] * (self._said.T @ self._solved)
        """``(k,)`` costs per unit of what each source says."""

    def predict(self, indices: IntArray, said: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation, each ``(n,)``, given the ``(n, k)`` values of the sources."""
        cross = self._cross(indices, said)
        own = self._terms.diagonals(indices)
        prior = _mix(self._variances, [*own, *(column**2 for column in said.T)])
        variance = prior - np.einsum("nk,kl,nl->n", cross, self._inverse, cross)
        std = self._scale * np.sqrt(np.maximum(variance, _JITTER))
        return self._center + self._scale * (cross @ self._solved), std

    def sample(self, indices: IntArray, said: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n)`` joint draws."""
        cross = self._cross(indices, said)
        encodings = self._terms.encode(indices)
        own = self._terms.covariances(encodings, encodings)
        prior = _mix(self._variances, [*own, *(np.outer(column, column) for column in said.T)])
        # Not a Cholesky factor: rows that are alike make the matrix singular, and rounding makes eigenvalues slightly
        # negative.
        values, vectors = np.linalg.eigh(prior - cross @ self._inverse @ cross.T)
        normal = rng.standard_normal((count, len(indices)))
        drawn = cross @ self._solved + normal @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
        costs: FloatArray = self._center + self._scale * drawn
        return costs

    def _cross(self, indices: IntArray, said: FloatArray) -> FloatArray:
        own = self._terms.covariances(self._terms.encode(indices))
        others = [np.outer(theirs, ours) for theirs, ours in zip(said.T, self._said.T, strict=True)]
        return _mix(self._variances, [*own, *others])


@final
class _Terms:
    """Covariances of what architectures themselves tell: one matrix per term, each about 1 on the diagonal."""

    def __init__(self, space: SearchSpace, indices: IntArray) -> None:
        self._space = space
        groups: dict[tuple[tuple[type, object], ...], int] = {}
        self._same = np.zeros((int(space.num_options.sum()), 0))
        begin = 0
        for choice in space.choices:
            key = tuple((type(option), option) for option in choice.options)
            size = len(choice.options)
            if key not in groups:
                groups[key] = self._same.shape[1]
                self._same = np.pad(self._same, ((0, 0), (0, size)))
            self._same[np.arange(begin, begin + size), np.arange(groups[key], groups[key] + size)] = 1.0
            begin += size
        self.encodings = self.encode(indices)
        counts = self.encodings @ self._same
        self._mean = counts.mean(axis=0)
        self._typical = max(float(((counts - self._mean) ** 2).sum(axis=1).mean()), 1e-12)

    def encode(self, indices: IntArray) -> FloatArray:
        """Return ``(n, d)`` one-hot encodings."""
        return self._space.encode(indices)

    def covariances(self, left: FloatArray, right: FloatArray | None = None) -> list[FloatArray]:
        """Return each term's covariances of ``(n, d)`` and ``(k, d)`` encodings, ``(n, k)``; known ones by default."""
        right = self.encodings if right is None else right
        shared = left @ right.T / len(self._space.choices)
        sizes = [rows.sum(axis=1) / len(self._space.choices) for rows in (left, right)]
        distances = (sizes[0][:, None] + sizes[1]) / 2 - shared
        counts = [rows @ self._same - self._mean for rows in (left, right)]
        return [np.exp(-_LIKENESS * distances), shared, counts[0] @ counts[1].T / self._typical]

    def diagonals(self, indices: IntArray) -> list[FloatArray]:
        """Return each term's variances, ``(n,)``."""
        encodings = self.encode(indices)
        counts = encodings @ self._same - self._mean
        sizes = encodings.sum(axis=1) / len(self._space.choices)
        return [np.ones(len(indices)), sizes, (counts**2).sum(axis=1) / self._typical]


def _mix(variances: FloatArray, terms: list[FloatArray]) -> FloatArray:
    """Return the sum of the terms, and 1 for a mean that may be any."""
    total: FloatArray = 1.0 + sum(v * term for v, term in zip(variances, terms, strict=True))
    return total


def _likeliest(terms: list[FloatArray], targets: FloatArray, num_own: int) -> FloatArray:
    """Return the log variances, the noise's first, of largest posterior density that L-BFGS finds."""
    expected = np.array([_NOISE] + [_OWN] * num_own + [_OTHER] * (len(terms) - num_own))
    eye = np.eye(len(targets))

    def loss(logs: FloatArray) -> tuple[float, FloatArray]:
        noise, *variances = np.exp(logs)
        inverse = np.linalg.inv(_mix(np.array(variances), terms) + (noise + _JITTER) * eye)
        log_determinant = np.linalg.slogdet(inverse)[1]
        weights = inverse @ targets
        away = (logs - expected) / _SPREAD
        slopes = [0.5 * (np.sum(inverse * term) - weights @ term @ weights) for term in (eye, *terms)]
        value = 0.5 * (targets @ weights - log_determinant + away @ away)
        return float(value), np.exp(logs) * np.array(slopes) + away / _SPREAD

    # The posterior may have two maxima: one in which sources explain the costs, one in which they are ignored. L-BFGS
    # finds the nearer one, so it begins near each.
    doubting = np.where(np.arange(len(expected)) > num_own, _BOUNDS[0] / 2, expected)
    starts = [expected, doubting] if len(terms) > num_own else [expected]
    bounds = [_BOUNDS] * len(expected)
    found: list[Any] = [minimize(loss, x, jac=True, method="L-BFGS-B", bounds=bounds) for x in starts]
    best: FloatArray = min(found, key=lambda result: float(result.fun)).x
    return best
