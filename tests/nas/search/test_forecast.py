from __future__ import annotations

import numpy as np
import pytest

from nas.search.forecast import forecast


def saturating(count: int, *, scale: float, exponent: float) -> list[float]:
    """Return 2 - scale n^-exponent."""
    return list(2.0 - scale * np.arange(1, count + 1.0) ** -exponent)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_history_that_follows_the_model_is_continued_as_it_goes_on(exponent: float) -> None:
    history = saturating(300, scale=1.5, exponent=exponent)
    expected = forecast(history[:200], evaluations=100, seconds_each=3.0)
    assert expected is not None
    truth = history[299] / history[199] - 1
    assert expected.gain == pytest.approx(truth, rel=0.05)
    assert expected.low <= expected.gain <= expected.high
    assert expected.seconds == 300.0


def test_the_interval_is_narrow_and_holds_most_of_what_happens_when_gains_are_rare() -> None:
    """Gains at random moments, of random size, that get rarer: what searches really look like."""
    rng, held = np.random.default_rng(1), 0
    widths, truths = [], []
    for _ in range(40):
        number = np.arange(1, 401)
        gains = (rng.uniform(size=400) < 8.0 / (8 + number)) * rng.exponential(1.0 / number)
        history = 1.0 + np.cumsum(gains)
        expected = forecast(list(history[:200]), evaluations=100, seconds_each=1.0)
        assert expected is not None
        truths.append(history[299] / history[199] - 1)
        widths.append(expected.high - expected.low)
        held += expected.low <= truths[-1] <= expected.high
    assert 26 <= held <= 38
    assert np.median(widths) < 8 * np.median(truths)


def test_longer_looks_expect_more_and_never_less_than_nothing() -> None:
    history = saturating(100, scale=1.0, exponent=0.8)
    gains = [forecast(history, evaluations=n, seconds_each=1.0) for n in (10, 100, 1000)]
    values = [g.gain for g in gains if g is not None]
    assert len(values) == 3
    assert 0 <= values[0] <= values[1] <= values[2]


def test_nothing_gained_is_nothing_expected() -> None:
    expected = forecast([1.0] * 100, evaluations=50, seconds_each=1.0)
    assert expected is not None
    assert (expected.gain, expected.low, expected.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("history", [[], [1.0] * 39, [0.0] * 100])
def test_too_early_is_no_forecast(history: list[float]) -> None:
    assert forecast(history, evaluations=10, seconds_each=1.0) is None


def test_a_forecast_reads_as_a_sentence() -> None:
    expected = forecast(saturating(200, scale=1.0, exponent=1.0), evaluations=100, seconds_each=3.6)
    text = str(expected)
    assert text.startswith("100 more evaluations, about 6 minutes, expected +0.")
    assert "80 % interval" in text
