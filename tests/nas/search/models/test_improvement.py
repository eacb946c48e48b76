from __future__ import annotations

import numpy as np
import pytest

from nas.search.models.improvement import most_improving
from nas.search.record.reference_box import ReferenceBox
from nas.space import FloatArray

NUM_DRAWS = 16


def sure(costs: list[list[float]]) -> FloatArray:
    """The same costs in every draw."""
    return np.tile(np.array(costs, dtype=np.float64), (NUM_DRAWS, 1, 1))


KNOWN = np.array([[0.0, 1.0], [1.0, 0.0]])


def test_the_candidate_that_adds_most_comes_first() -> None:
    predicted = sure([[0.9, 0.9], [0.1, 0.1], [0.5, 0.5], [2.0, 2.0]])
    assert most_improving(predicted, KNOWN, 1, np.random.default_rng(0), pending=None) == [1]
    assert most_improving(predicted, KNOWN, 2, np.random.default_rng(0), pending=None)[0] == 1


def test_a_batch_is_spread_instead_of_repeating_one_gain() -> None:
    predicted = sure([[0.2, 0.5], [0.21, 0.5], [0.5, 0.2], [0.5, 0.21]])
    assert set(most_improving(predicted, KNOWN, 2, np.random.default_rng(0), pending=None)) == {0, 2}


def test_uncertainty_is_worth_a_look() -> None:
    std = np.array([[1e-9, 1e-9], [0.3, 0.3]])
    draws = 1.05 + std * np.random.default_rng(5).standard_normal((NUM_DRAWS, 2, 2))
    assert most_improving(draws, KNOWN, 1, np.random.default_rng(0), pending=None) == [1]


def test_what_probably_exceeds_a_limit_is_worth_less() -> None:
    likely, unlikely = np.arange(NUM_DRAWS) < 12, np.arange(NUM_DRAWS) < 2
    second = np.stack([np.where(unlikely, 0.4, 0.6), np.where(likely, 0.4, 0.6)], axis=1)
    draws = np.stack([np.full_like(second, 0.2), second], axis=2)
    draws[:, 1, 0] = 0.25  # so that the first would be the better one

    def excess(costs: FloatArray) -> FloatArray:
        return np.maximum(costs[..., 1] - 0.5, 0)

    def picked(known: FloatArray, *, limited: bool) -> list[int]:
        limit = excess if limited else None
        return most_improving(draws, known, 1, np.random.default_rng(0), pending=None, excess=limit)

    assert picked(np.array([[0.0, 1.0], [1.0, 0.4]]), limited=True) == [1]
    none_met = np.array([[0.0, 1.0], [1.0, 0.6]])
    assert picked(none_met, limited=True) == [1]
    beyond = np.array(
        [[0.1, 0.6], [1.0, 1.0]]
    )  # better than what the limit leaves, but it counts for nothing
    assert picked(beyond, limited=True) == [1]


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_no_candidate_is_picked_twice(count: int) -> None:
    predicted = np.random.default_rng(3).random((NUM_DRAWS, 3, 2))
    picked = most_improving(predicted, KNOWN, count, np.random.default_rng(0), pending=None)
    assert len(picked) == len(set(picked)) == min(count, 3)


def test_what_moves_together_is_tried_once() -> None:
    """Two pairs of equal promise: in the first, both are good in the same draws."""
    good, bad = np.array([0.1, 0.1]), np.array([2.0, 2.0])
    halves = np.arange(NUM_DRAWS) < NUM_DRAWS // 2
    same = np.where(halves[:, None], good, bad)
    other = np.where(halves[:, None], bad, good)
    draws = np.stack([same, same, other], axis=1)
    assert 2 in most_improving(draws, KNOWN, 2, np.random.default_rng(0), pending=None)


def test_what_is_under_evaluation_counts_as_if_it_were_there() -> None:
    predicted = sure([[0.2, 0.5], [0.5, 0.2]])
    pending = sure([[0.2, 0.5]])
    assert most_improving(predicted, KNOWN, 2, np.random.default_rng(0), pending=pending) == [1]


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 5, 12])
def test_the_order_is_that_of_the_hypervolume(num_objectives: int) -> None:
    rng = np.random.default_rng(num_objectives)
    known, costs = rng.random((6, num_objectives)), 0.3 * rng.random((8, num_objectives))
    box = ReferenceBox.around(known)
    volumes = [box.hypervolume(np.vstack([known, row])) for row in costs]
    best = most_improving(sure(costs.tolist()), known, 1, rng, pending=None)[0]
    gains = np.array(volumes) - box.hypervolume(known)
    assert gains[best] >= 0.9 * gains.max()


@pytest.mark.parametrize("known", [[[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]], [[0.0, 2.0]]])
def test_a_front_of_one_point_is_enough(known: list[list[float]]) -> None:
    picked = most_improving(
        sure([[5.0, 5.0], [-0.5, 1.5]]), np.array(known), 2, np.random.default_rng(0), pending=None
    )
    assert picked == [1]


def test_the_scale_of_an_objective_does_not_matter() -> None:
    costs = np.random.default_rng(0).random((12, 2))
    known = np.random.default_rng(1).random((5, 2))
    plain = most_improving(sure(costs.tolist()), known, 5, np.random.default_rng(2), pending=None)
    scale = np.array([1e6, 1e-3])
    scaled = most_improving(
        sure((costs * scale).tolist()), known * scale, 5, np.random.default_rng(2), pending=None
    )
    assert plain == scaled


@pytest.mark.parametrize("in_turns", [False, True])
@pytest.mark.parametrize("num_objectives", [2, 3])
def test_great_promises_at_one_end_do_not_take_all_turns(num_objectives: int, in_turns: bool) -> None:
    """Sixteen candidates may each be perfect, in one draw; one is surely a little better than what is known."""
    known = np.vstack([1 - np.eye(num_objectives), np.full(num_objectives, 0.6)])
    promising = np.tile([0.0, *[1.0] * (num_objectives - 1)], (NUM_DRAWS, 16, 1))
    promising[np.arange(NUM_DRAWS), np.arange(16)] = 0.0
    little = np.full((NUM_DRAWS, 1, num_objectives), 0.59)
    draws = np.concatenate([promising, little], axis=1)
    picked = [
        most_improving(draws, known, 6, np.random.default_rng(seed), pending=None, in_turns=in_turns)
        for seed in range(20)
    ]
    assert any(16 in rows for rows in picked) == in_turns


def test_a_network_that_learned_nothing_has_no_turn_and_does_not_stretch_the_front() -> None:
    """Errors 0.10, 0.15 and 0.90 beside latencies 1.0, 0.5 and 0.0: what lies near the last is not picked."""
    known = np.array([[0.10, 1.0], [0.15, 0.5], [0.90, 0.0], [1.0, 1.2]])
    near = sure([[0.09, 1.0], [0.14, 0.5], [0.89, -0.01], [0.88, -0.01], [0.87, -0.01]])
    for seed in range(20):
        picked = most_improving(near, known, 2, np.random.default_rng(seed), pending=None, in_turns=True)
        assert picked[1] in (0, 1)
