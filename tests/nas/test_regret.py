from __future__ import annotations

import numpy as np
import pytest

from nas.regret import regret
from nas.space import FloatArray

EXACT = np.zeros(4)


def costs(*rows: tuple[float, ...]) -> FloatArray:
    return np.array(rows)


def test_the_best_winner_loses_what_an_equally_cheap_one_reaches() -> None:
    found = regret(
        costs((0.05, 1.0), (0.03, 4.0), (0.02, 3.0), (0.01, 9.0)),
        np.array([True, True, False, False]),
        EXACT,
        sampled=False,
    )
    assert found is not None
    assert (found.best.value, found.best.low, found.best.high) == pytest.approx((0.01, 0.01, 0.01))
    assert 0 < found.front.value < 1


def test_winners_that_nobody_beats_lose_nothing() -> None:
    found = regret(
        costs((0.05, 1.0), (0.01, 4.0), (0.06, 1.0), (0.01, 9.0)),
        np.array([True, True, False, False]),
        EXACT,
        sampled=False,
    )
    assert found is not None
    assert (found.best.value, found.best.high, found.front.value) == (0.0, 0.0, 1.0)


def test_a_difference_within_the_noise_is_told_so() -> None:
    values = costs((0.02, 1.0), (0.01, 1.0), (0.05, 2.0))
    winners = np.array([True, False, False])
    sure, unsure = (regret(values, winners, np.full(3, spread), sampled=False) for spread in (0.001, 0.02))
    assert sure is not None
    assert unsure is not None
    assert sure.best.value == unsure.best.value == pytest.approx(0.01)
    assert sure.best.low > 0.0
    assert unsure.best.low == 0.0


def test_without_a_choice_there_is_no_regret() -> None:
    values = costs((0.1, 1.0), (0.2, 2.0))
    for winners in ([True, True], [False, False]):
        assert regret(values, np.array(winners), np.zeros(2), sampled=True) is None


def test_it_compares_quality_alone_where_nothing_else_is_known() -> None:
    found = regret(costs((0.2,), (0.1,)), np.array([True, False]), np.zeros(2), sampled=True)
    assert found is not None
    assert found.best.value == pytest.approx(0.1)


def test_others_that_all_cost_more_say_nothing_against_the_best_winner() -> None:
    found = regret(costs((0.2, 1.0), (0.1, 2.0)), np.array([True, False]), np.zeros(2), sampled=True)
    assert found is not None
    assert found.best.value == found.best.high == 0.0
    assert found.front.value < 1
