"""A part of a problem is as large as the whole says, whatever controls whatever."""

from __future__ import annotations

import numpy as np
import pytest

from nas.choices import choice
from nas.search.strategies.sub_problem import SubProblem
from nas.space import Condition, IntArray, SearchSpace
from nas.testing import toy_problem

NESTED = SearchSpace(
    (choice("a", 0, 1), choice("b", 0, 1, 2), choice("c", 0, 1), choice("d", 0, 1, 2), choice("e", 0, 1)),
    {
        "b": ((Condition("a", (1,)),),),
        "c": ((Condition("b", (1, 2)),),),
        "d": ((Condition("c", (1,)),), (Condition("a", (0,)), Condition("e", (1,)))),
    },
)


def every(space: SearchSpace) -> IntArray:
    rows = np.array(list(np.ndindex(*space.num_options)), dtype=np.int64)
    return np.unique(space.canonical(rows), axis=0)


@pytest.mark.parametrize("free", [[0], [1], [2], [3], [0, 1], [1, 3], [0, 2, 4], [3, 4], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("num_bases", [1, 4])
def test_it_holds_each_architecture_that_agrees_with_a_base_once(free: list[int], num_bases: int) -> None:
    problem = toy_problem(NESTED)
    problem = type(problem)(NESTED, problem.objectives, lambda _: {}, lambda rows: np.zeros(len(rows)))
    bases = NESTED.sample_indices(num_bases, np.random.default_rng(1))
    part = SubProblem(problem, bases, np.array(free))
    rows = every(part.problem.space)
    own = rows[part.problem.violation(rows) == 0]
    expected = set()
    for base in bases:
        changed = every(NESTED)
        changed[:, np.setdiff1d(range(5), free)] = base[np.setdiff1d(range(5), free)]
        expected |= {tuple(row) for row in NESTED.canonical(changed)}
    assert {tuple(row) for row in part.expand(own)} == expected
    assert len(own) == len(expected)
    assert np.array_equal(part.project(part.expand(own)), own)
    inside = part.holds(every(NESTED))
    assert {tuple(row) for row in every(NESTED)[inside]} == expected


def test_counts_and_constraints_are_those_of_the_whole() -> None:
    problem = toy_problem()
    bases = problem.space.sample_indices(3, np.random.default_rng(0))
    part = SubProblem(problem, bases, np.array([0, 5]))
    rows = part.problem.space.sample_indices(20, np.random.default_rng(1))
    whole = part.expand(rows)
    assert np.array_equal(part.problem.count(rows)["size"], problem.count(whole)["size"])
    assert np.array_equal(part.problem.violation(rows) > 0, problem.violation(whole) > 0)
