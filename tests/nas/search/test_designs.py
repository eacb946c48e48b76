from __future__ import annotations

import numpy as np
import pytest
from fakes import grid_problem

from nas.protocols import Problem
from nas.search.designs import space_filling, tilted_samples
from nas.testing import toy_problem


@pytest.mark.parametrize("problem", [grid_problem(), grid_problem(at_most=5), toy_problem()])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_designs_are_feasible_canonical_and_different(problem: Problem, count: int) -> None:
    rows = space_filling(problem, count, np.random.default_rng(0))
    assert len(rows) == count
    assert len(np.unique(rows, axis=0)) == count
    assert np.array_equal(problem.space.canonical(rows), rows)
    assert (problem.violation(rows) <= 0).all()


def test_the_two_ends_come_first() -> None:
    problem = grid_problem()
    rows = space_filling(problem, 5, np.random.default_rng(0))
    assert rows[:2].tolist() == [[0, 0, 0, 0], [3, 3, 3, 3]]


def test_an_end_that_is_not_feasible_is_left_out() -> None:
    rows = space_filling(grid_problem(at_most=6), 5, np.random.default_rng(0))
    assert rows[0].tolist() == [0, 0, 0, 0]
    assert rows.sum(axis=1).max() <= 6


def test_designs_spread_over_sizes() -> None:
    problem = grid_problem(num_choices=20)
    sizes = space_filling(problem, 12, np.random.default_rng(0)).sum(axis=1)
    thirds = np.histogram(sizes, bins=3, range=(0, 60))[0]
    assert thirds.min() >= 2


def test_a_space_smaller_than_the_count_is_given_whole() -> None:
    problem = grid_problem(num_choices=2, num_options=2)
    assert len(space_filling(problem, 50, np.random.default_rng(0))) == 4


def test_where_nothing_is_feasible_nothing_is_given() -> None:
    assert len(space_filling(grid_problem(at_most=-1), 5, np.random.default_rng(0))) == 0


def test_equal_generators_give_equal_designs() -> None:
    problem = toy_problem()
    first, same, other = (space_filling(problem, 9, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_tilted_samples_reach_small_and_large() -> None:
    problem = grid_problem(num_choices=20)
    sizes = tilted_samples(problem, 500, np.random.default_rng(0)).sum(axis=1)
    assert sizes.min() < 6
    assert sizes.max() > 54
