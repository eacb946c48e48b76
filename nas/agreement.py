"""How well two rankings of the same architectures agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.space import FloatArray

_RESAMPLES = 1000
"""25 of them lie beyond each end of a 95 % interval."""
_DOUBTFUL = 0.3
"""Chosen. Of two architectures the first ranking then names the better one in at most 65 of 100 cases."""
_FEW = 5
"""See :attr:`Agreement.few`."""


@final
@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} (95 % {self.low:.2f} to {self.high:.2f})"


@final
@dataclass(frozen=True)
class Agreement:
    """Rank correlation of two qualities of the same architectures.

    Args:
        count: Number of architectures.
        tau: Kendall's tau-b.
        spearman: Spearman's rho.
    """

    count: int
    tau: Interval
    spearman: Interval

    @property
    def few(self) -> bool:
        """Whether there are fewer than 5 architectures.

        Unrelated rankings of 4 agree fully in 1 of 24 cases, and the interval of those has no width.
        """
        return self.count < _FEW

    @property
    def doubtful(self) -> bool:
        """Whether tau may be 0.3 or less, or nobody can tell: the first ranking then says little about the second."""
        return self.few or self.tau.low <= _DOUBTFUL


def rank_agreement(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Agreement | None:
    """Return how well the order of ``before`` agrees with that of ``after``.

    The intervals are percentiles of 1,000 bootstrap samples of architectures; samples in which all are
    equal have no correlation and are left out.

    Returns:
        None where it is undefined: fewer than two architectures, or one of the rows is constant.
    """
    if len(set(before)) < 2 or len(set(after)) < 2:
        return None
    x, y = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    rng = np.random.default_rng(seed)
    samples = rng.integers(len(x), size=(_RESAMPLES, len(x)))
    times = np.stack([np.bincount(rows, minlength=len(x)) for rows in samples]).astype(np.float64)
    times = times[[np.ptp(x[drawn > 0]) > 0 and np.ptp(y[drawn > 0]) > 0 for drawn in times]]
    return Agreement(
        len(x),
        _interval(kendall_tau(x, y), _kendall_taus(x, y, times)),
        _interval(spearman_rho(x, y), _spearman_rhos(x, y, times)),
    )


def find_swapped_pairs(before: Sequence[float], after: Sequence[float]) -> list[tuple[int, int]]:
    """Return the positions of every pair that ``after`` puts in the opposite order; ties are no swaps."""
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(before)), 2)
        if (before[i] - before[j]) * (after[i] - after[j]) < 0
    ]


def kendall_tau(x: FloatArray, y: FloatArray) -> float:
    """Return Kendall's tau-b of two rows of equal length; NaN where one is constant."""
    from scipy.stats import kendalltau  # here, because it takes a second to import, and few ask

    return float(kendalltau(x, y).statistic)


def spearman_rho(x: FloatArray, y: FloatArray) -> float:
    """Return Spearman's rho of two rows of equal length; NaN where one is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)


def _interval(value: float, resampled: FloatArray) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _kendall_taus(x: FloatArray, y: FloatArray, times: FloatArray) -> FloatArray:
    """Return Kendall's tau-b of many samples at once, as scipy computes that of one, to the last bit.

    Args:
        x: ``(n,)`` values.
        y: ``(n,)`` values to compare them with.
        times: ``(samples, n)``, how often each pair of values is in a sample; no sample may be constant.
    """
    sign_x, sign_y = (np.sign(row[:, None] - row) for row in (x, y))

    def pairs(matrix: FloatArray) -> FloatArray:
        return np.asarray((times @ matrix * times).sum(1) / 2)

    tau = pairs(sign_x * sign_y) / np.sqrt(pairs(sign_x**2)) / np.sqrt(pairs(sign_y**2))
    return np.asarray(tau.clip(-1, 1))


def _spearman_rhos(x: FloatArray, y: FloatArray, times: FloatArray) -> FloatArray:
    """Return Spearman's rho of many samples at once, as scipy computes that of one, to the last bit."""
    count = len(x)
    # Ranks are multiples of a half, so that all sums are exact.
    ranks = [times @ ((row[:, None] < row) + (row[:, None] == row) / 2) + 0.5 for row in (x, y)]
    from_mean_x, from_mean_y = (found - (count + 1) / 2 for found in ranks)
    share = 1 / (count - 1)
    variance_x, variance_y, covariance = (
        (times * product).sum(1) * share
        for product in (from_mean_x**2, from_mean_y**2, from_mean_x * from_mean_y)
    )
    return np.asarray((covariance / np.sqrt(variance_y) / np.sqrt(variance_x)).clip(-1, 1))
