from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas import pareto


def brute_force(costs: np.ndarray) -> np.ndarray:
    keep = []
    for row, cost in enumerate(costs):
        dominated = any((other <= cost).all() and (other < cost).any() for other in costs)
        repeated = any((costs[before] == cost).all() for before in range(row))
        keep.append(not dominated and not repeated)
    return np.array(keep, dtype=np.bool_)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([[1, 2], [2, 1], [2, 2], [1.5, 1.5]], [True, True, False, True]),
        ([[1, 1], [1, 1], [1, 1]], [True, False, False]),
        ([[1, 2], [1, 1]], [False, True]),
        ([[0, 5], [0, 5], [5, 0], [5, 0]], [True, False, True, False]),
        ([[3.0]], [True]),
        ([[3.0], [1.0], [2.0], [1.0]], [False, True, False, False]),
        ([[1, 2, 3], [3, 2, 1], [2, 2, 2], [3, 3, 3]], [True, True, True, False]),
        ([[-1, 0], [0, -1], [0, 0]], [True, True, False]),
    ],
)
def test_non_dominated_by_hand(costs: list[list[float]], expected: list[bool]) -> None:
    assert pareto.non_dominated(np.array(costs, dtype=np.float64)).tolist() == expected


@pytest.mark.parametrize("seed", range(10))
def test_non_dominated_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 5, size=(60, rng.integers(1, 6))).astype(np.float64)
    assert np.array_equal(pareto.non_dominated(costs), brute_force(costs))


@pytest.mark.parametrize("num_objectives", [1, 2, 12])
def test_no_rows_no_front(num_objectives: int) -> None:
    nothing = np.zeros((0, num_objectives))
    assert pareto.non_dominated(nothing).shape == (0,)
    assert pareto.hypervolume(nothing, np.ones(num_objectives)) == 0.0


def test_nan_is_refused() -> None:
    costs = np.array([[0.0, 1.0], [np.nan, 0.0]])
    with pytest.raises(ValueError, match="NaN"):
        pareto.non_dominated(costs)
    with pytest.raises(ValueError, match="NaN"):
        pareto.hypervolume(costs, np.ones(2))


@pytest.mark.parametrize(
    ("costs", "reference", "expected"),
    [
        ([[0.0, 0.0]], [1.0, 1.0], 1.0),
        ([[0.5, 0.25]], [1.0, 1.0], 0.375),
        ([[0.0, 0.5], [0.5, 0.0]], [1.0, 1.0], 0.75),
        ([[0.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]], [1.0, 1.0], 0.75),
        ([[1.0, 0.0]], [1.0, 1.0], 0.0),
        ([[2.0, -1.0]], [1.0, 1.0], 0.0),
        ([[0.25]], [1.0], 0.75),
        ([[0.0, 0.0, 0.5], [0.0, 0.5, 0.0], [0.5, 0.0, 0.0]], [1.0, 1.0, 1.0], 0.875),
    ],
)
def test_hypervolume_by_hand(costs: list[list[float]], reference: list[float], expected: float) -> None:
    assert pareto.hypervolume(np.array(costs), np.array(reference)) == expected


def test_hypervolume_never_shrinks_with_another_point() -> None:
    rng = np.random.default_rng(0)
    costs, reference = rng.random((30, 3)), np.full(3, 1.1)
    volumes = [pareto.hypervolume(costs[:count], reference) for count in range(31)]
    assert all(after >= before for before, after in itertools.pairwise(volumes))


def test_spread_subset_keeps_the_first_and_the_ends() -> None:
    costs = np.array([[0.0, 1.0], [0.01, 0.99], [0.02, 0.98], [0.5, 0.5], [1.0, 0.0]])
    chosen = pareto.spread_subset(costs, 3, np.full(2, 1.1), 0)
    assert chosen[0] == 0
    assert set(chosen[1:]) == {3, 4}


def test_spread_subset_of_more_than_there_are_is_all_of_them() -> None:
    costs = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert sorted(pareto.spread_subset(costs, 9, np.full(2, 1.1), 1)) == [0, 1]
