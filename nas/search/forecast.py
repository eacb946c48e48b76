"""What more evaluations would bring: the hypervolume's history, extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.space import FloatArray

_MIN_HISTORY = 40
"""Chosen: the curve has three parameters, and 30 points are left without the first quarter. With a tenth of it the fit
would follow single lucky evaluations; with ten times as many no search of usual length would have a forecast."""
_EXPONENTS = np.linspace(0.1, 3.0, 30)
"""Tried one by one, because with a fixed exponent the rest is linear least squares, for all replicates at once."""
_REPLICATES = 200
"""Chosen: eight of them lie beyond each end of the interval. With a tenth of it an end would be a single replicate."""
_INTERVAL = (0.04, 0.96)
"""Holds about 80 % of what follows, see :func:`forecast`."""


@final
@dataclass(frozen=True)
class Forecast:
    """What more evaluations would bring.

    Args:
        evaluations: How many more.
        seconds: They would take, at the latest pace.
        gain: Expected rise of the hypervolume, as a share of what it is.
        low: Lower end of the 80 % interval.
        high: Upper end.
    """

    evaluations: int
    seconds: float
    gain: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.evaluations} more evaluations, {_duration(self.seconds)}, expected {self.gain:+.2%} "
            f"hypervolume (80 % interval {self.low:.2%} to {self.high:.2%})"
        )


def forecast(history: Sequence[float], *, evaluations: int, seconds_each: float) -> Forecast | None:
    """Extrapolate a search's hypervolume.

    The model is the inverse power law H(n) = H∞ - a n^-b, one of the learning curves of Domhan 2015, fitted by least
    squares to the last three quarters of the history. It gives the expected gain of each evaluation.
    Real gains are rare and uneven, so the interval comes from 200 replicates: the ratios of
    observed to expected gain are drawn again in blocks, the model is fitted to the history they make, and
    further ratios are drawn for the future. The replicates know nothing of gains larger than any yet, so the interval
    goes from their 4 % to their 96 % quantile, so that it holds about 80 % of what follows: 34 of the 40
    histories with rare gains in ``tests/nas/search/test_forecast.py``. Where three quarters of the history brought
    nothing, nothing is expected.

    Args:
        history: Hypervolume after each evaluation, oldest first; never falls.
        evaluations: How far to look.
        seconds_each: What one evaluation takes.

    Returns:
        None when the history is shorter than 40, or nothing is dominated yet.
    """
    if len(history) < _MIN_HISTORY or history[-1] <= 0:
        return None
    rng = np.random.default_rng(0)
    # The first quarter rises by start-up designs, which say nothing of how a search goes on.
    begin = len(history) // 4
    observed = np.asarray(history[begin:], dtype=np.float64) / history[-1]
    numbers = np.arange(begin + 1, len(history) + 1, dtype=np.float64)
    ahead = np.arange(numbers[-1], numbers[-1] + evaluations + 1)
    fitted = _fit(numbers, observed[None])
    past, future = _gains(numbers, *fitted)[0], _gains(ahead, *fitted)[0]
    total = observed[-1] - observed[0]
    if total <= 0 or past.sum() <= 0:
        return Forecast(evaluations, evaluations * seconds_each, 0.0, 0.0, 0.0)
    ratios = np.diff(observed) / np.maximum(past * total / past.sum(), 1e-300)
    again = observed[0] + np.cumsum(past * _blocks(ratios, (_REPLICATES, len(past)), rng), axis=1)
    replicates = _gains(ahead, *_fit(numbers[1:], again))
    gains = (replicates * _blocks(ratios, (_REPLICATES, evaluations), rng)).sum(axis=1)
    low, high = np.quantile(gains, _INTERVAL)
    gain = float(future.sum())
    return Forecast(evaluations, evaluations * seconds_each, gain, min(low, gain), max(high, gain))


def _fit(numbers: FloatArray, histories: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit H∞ - a n^-b to each row of ``(r, n)`` histories; return a >= 0 and b, each ``(r, 1)``."""
    powers = numbers[None] ** -_EXPONENTS[:, None]
    centred = powers - powers.mean(axis=1, keepdims=True)
    deviations = histories - histories.mean(axis=1, keepdims=True)
    slopes = np.minimum(deviations @ centred.T / (centred**2).sum(axis=1), 0.0)
    errors = (deviations**2).sum(axis=1, keepdims=True) - slopes**2 * (centred**2).sum(axis=1)
    best = errors.argmin(axis=1)[:, None]
    return -np.take_along_axis(slopes, best, axis=1), _EXPONENTS[best]


def _gains(numbers: FloatArray, scale: FloatArray, exponent: FloatArray) -> FloatArray:
    """Return the expected gain from each number of evaluations to the next, ``(r, n - 1)``."""
    return np.asarray(-np.diff(scale * numbers[None] ** -exponent, axis=1))


def _blocks(ratios: FloatArray, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Draw ratios with replacement in blocks, because gains come in bursts."""
    # The usual order of a block's length in a block bootstrap: n to the power of a third.
    length = max(1, round(len(ratios) ** (1 / 3)))
    rows, columns = shape
    starts = rng.integers(0, len(ratios), size=(rows, -(-columns // length), 1))
    positions = (starts + np.arange(length)) % len(ratios)
    return np.asarray(ratios[positions].reshape(rows, -1)[:, :columns])


def _duration(seconds: float) -> str:
    for size, unit in ((3600.0, "hour"), (60.0, "minute"), (1.0, "second")):
        count = round(seconds / size)
        if seconds >= 1.5 * size:
            return f"about {count} {unit}s"
    return "about a second"
