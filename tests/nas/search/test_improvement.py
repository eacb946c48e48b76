from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nas.search.improvement import most_improving
from nas.space import FloatArray


@dataclass
class Normal:
    """Independent normal costs."""

    mean: FloatArray
    std: FloatArray

    def __len__(self) -> int:
        return len(self.mean)

    def at(self, deviations: FloatArray) -> FloatArray:
        return self.mean + deviations * self.std


def sure(costs: list[list[float]]) -> Normal:
    mean = np.array(costs, dtype=np.float64)
    return Normal(mean, np.full_like(mean, 1e-9))


KNOWN = np.array([[0.0, 1.0], [1.0, 0.0]])


def test_the_candidate_that_adds_most_comes_first() -> None:
    predicted = sure([[0.9, 0.9], [0.1, 0.1], [0.5, 0.5], [2.0, 2.0]])
    assert most_improving(predicted, KNOWN, 1, np.random.default_rng(0)) == [1]
    assert most_improving(predicted, KNOWN, 2, np.random.default_rng(0))[0] == 1


def test_a_batch_is_spread_instead_of_repeating_one_gain() -> None:
    predicted = sure([[0.2, 0.5], [0.21, 0.5], [0.5, 0.2], [0.5, 0.21]])
    assert set(most_improving(predicted, KNOWN, 2, np.random.default_rng(0))) == {0, 2}


def test_uncertainty_is_worth_a_look() -> None:
    mean = np.array([[0.6, 0.6], [0.6, 0.6]])
    std = np.array([[1e-9, 1e-9], [0.3, 0.3]])
    assert most_improving(Normal(mean, std), KNOWN, 1, np.random.default_rng(0)) == [1]


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_no_candidate_is_picked_twice(count: int) -> None:
    predicted = sure([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    picked = most_improving(predicted, KNOWN, count, np.random.default_rng(0))
    assert len(picked) == len(set(picked)) == min(count, 3)


@pytest.mark.parametrize("known", [[[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]], [[0.0, 0.0]]])
def test_a_front_of_one_point_is_enough(known: list[list[float]]) -> None:
    picked = most_improving(sure([[5.0, 5.0], [0.5, 1.5]]), np.array(known), 2, np.random.default_rng(0))
    assert sorted(picked) == [0, 1]


def test_the_scale_of_an_objective_does_not_matter() -> None:
    costs = np.random.default_rng(0).random((12, 2))
    known = np.random.default_rng(1).random((5, 2))
    plain = most_improving(sure(costs.tolist()), known, 5, np.random.default_rng(2))
    scale = np.array([1e6, 1e-3])
    scaled = most_improving(sure((costs * scale).tolist()), known * scale, 5, np.random.default_rng(2))
    assert plain == scaled
