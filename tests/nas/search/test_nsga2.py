from __future__ import annotations

import numpy as np
import pytest
from fakes import grid_problem

from nas import pareto
from nas.protocols import Problem
from nas.search.nsga2 import evolve
from nas.space import FloatArray, IntArray
from nas.testing import toy_problem


def costs_of(problem: Problem) -> object:
    def costs(indices: IntArray) -> FloatArray:
        return np.stack([-np.sqrt(indices).sum(axis=1), indices.sum(axis=1).astype(float)], axis=1)

    return costs


def evolved(
    problem: Problem, seed: int = 0, avoid: frozenset[bytes] = frozenset(), size: int = 24
) -> IntArray:
    start = problem.space.indices([problem.space.smallest(), problem.space.largest()])
    rng = np.random.default_rng(seed)
    return evolve(problem, costs_of(problem), start=start, avoid=avoid, size=size, rng=rng)  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", [grid_problem(), grid_problem(at_most=5), toy_problem()])
def test_the_result_is_canonical_feasible_unseen_and_different(problem: Problem) -> None:
    first = evolved(problem)
    avoid = frozenset(row.tobytes() for row in first)
    rows = evolved(problem, seed=1, avoid=avoid)
    assert 0 < len(rows) <= 24
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert np.array_equal(problem.space.canonical(rows), rows)
    assert (problem.violation(rows) <= 0).all()
    assert not {row.tobytes() for row in rows} & avoid


def test_equal_generators_give_equal_results() -> None:
    assert np.array_equal(evolved(toy_problem()), evolved(toy_problem()))
    assert not np.array_equal(evolved(toy_problem()), evolved(toy_problem(), seed=1))


def test_it_comes_close_to_the_true_front() -> None:
    problem = grid_problem(num_choices=6, num_options=4)
    every = np.array(list(np.ndindex(*problem.space.num_options)), dtype=np.int64)
    reference = np.array([0.0, 20.0])
    costs = costs_of(problem)
    best = pareto.hypervolume(costs(every), reference)  # type: ignore[operator]
    found = pareto.hypervolume(costs(evolved(problem, size=64)), reference)  # type: ignore[operator]
    assert found > 0.95 * best


def test_a_space_of_which_all_is_seen_gives_nothing() -> None:
    problem = grid_problem(num_choices=2, num_options=2)
    every = np.array(list(np.ndindex(2, 2)), dtype=np.int64)
    assert len(evolved(problem, avoid=frozenset(row.tobytes() for row in every))) == 0
