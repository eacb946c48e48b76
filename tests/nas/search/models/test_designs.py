from __future__ import annotations

import numpy as np
import pytest
from fakes import grid_problem

from nas.search.models.designs import draw_balanced_designs, draw_tilted_samples
from nas.strategy import Problem
from nas.testing import toy_problem


@pytest.mark.parametrize("problem", [grid_problem(), grid_problem(at_most=5), toy_problem()])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_designs_are_feasible_canonical_and_different(problem: Problem, count: int) -> None:
    rows = draw_balanced_designs(problem, count, np.random.default_rng(0))
    assert 0 < len(np.unique(rows, axis=0)) == len(rows) <= count
    assert np.array_equal(problem.space.canonical(rows), rows)
    assert (problem.violation(rows) <= 0).all()


def test_all_options_are_equally_frequent() -> None:
    rows = draw_balanced_designs(grid_problem(num_choices=20), 12, np.random.default_rng(0))
    counts = np.stack([np.bincount(column, minlength=4) for column in rows.T])
    assert (counts == 3).all()


def test_in_a_space_smaller_than_the_count_nothing_repeats() -> None:
    rows = draw_balanced_designs(grid_problem(num_choices=2, num_options=2), 50, np.random.default_rng(0))
    assert len(np.unique(rows, axis=0)) == len(rows) <= 4


def test_where_nothing_is_feasible_nothing_is_given() -> None:
    assert len(draw_balanced_designs(grid_problem(at_most=-1), 5, np.random.default_rng(0))) == 0


def test_equal_generators_give_equal_designs() -> None:
    problem = toy_problem()
    first, same, other = (
        draw_balanced_designs(problem, 9, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_tilted_samples_reach_small_and_large() -> None:
    problem = grid_problem(num_choices=20)
    sizes = draw_tilted_samples(problem, 500, np.random.default_rng(0)).sum(axis=1)
    assert sizes.min() < 6
    assert sizes.max() > 54
