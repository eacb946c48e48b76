from __future__ import annotations

import dataclasses
import math

import numpy as np
import optuna
import pytest
from fakes import grid_problem
from optuna.trial import FrozenTrial, TrialState

from nas.choices import choice
from nas.search.models.proposals import any_fresh, fresh, history_of, keys, neighbours
from nas.search.record.trials import REPEATS, distributions
from nas.space import IntArray, SearchSpace
from nas.strategy import Problem
from nas.testing import toy_problem

PROBLEM = grid_problem()


def trial(
    row: list[int], state: TrialState, values: list[float] | None = None, **more: object
) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=dict(PROBLEM.space.from_indices(np.array([row]))[0]),
        distributions=distributions(PROBLEM.space),
        **more,  # type: ignore[arg-type]
    )


def test_a_history_learns_from_finite_values_and_remembers_everything_else() -> None:
    queued = optuna.trial.create_trial(
        state=TrialState.WAITING, system_attrs={"fixed_params": {"c0": 0, "c1": 0, "c2": 0, "c3": 3}}
    )
    trials = [
        trial([0, 0, 0, 0], TrialState.COMPLETE, [0.5, 1.0]),
        trial([0, 0, 0, 1], TrialState.FAIL),
        trial([0, 0, 0, 2], TrialState.RUNNING),
        queued,
        trial([0, 0, 1, 0], TrialState.COMPLETE, [-math.inf, 1.0]),
        trial([0, 0, 1, 1], TrialState.PRUNED),
        trial([0, 0, 0, 0], TrialState.COMPLETE, [0.5, 1.0], user_attrs={REPEATS: 0}),
        trial([3, 3, 3, 3], TrialState.COMPLETE, [0.9, 12.0]),
        optuna.trial.create_trial(state=TrialState.FAIL),  # before it had options
    ]
    history = history_of(PROBLEM, trials)
    assert history.finished.tolist() == [[0, 0, 0, 0], [3, 3, 3, 3]]
    assert history.costs.tolist() == [[-0.5, 1.0], [-0.9, 12.0]]
    expected = [
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 2],
        [0, 0, 0, 3],
        [0, 0, 1, 0],
        [0, 0, 1, 1],
        [3, 3, 3, 3],
    ]
    assert history.seen == keys(np.array(expected))


def test_an_empty_history() -> None:
    history = history_of(PROBLEM, [])
    assert history.finished.shape == (0, 4)
    assert history.costs.shape == (0, 2)
    assert not history.seen


def test_fresh_keeps_the_order_and_each_architecture_once() -> None:
    problem = toy_problem()
    rows = np.array([[1, 0, 0, 4, 2, 1], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1], [5, 3, 0, 0, 0, 0]])
    found = fresh(problem, rows, keys(np.zeros((1, 6), dtype=np.int64)))
    assert found.tolist() == [
        [1, 0, 0, 0, 0, 1]
    ]  # inactive ones are 0; the origin is seen, the last too large


def test_neighbours_are_all_that_differ_in_one_choice_that_matters() -> None:
    space = toy_problem().space
    shallow = neighbours(space, np.array([2, 1, 0, 0, 0, 3]))
    assert len(shallow) == 5 + 3 + 1 + 3
    deep = neighbours(space, np.array([2, 1, 1, 4, 2, 3]))
    assert len(np.unique(deep, axis=0)) == len(deep) == 5 + 3 + 1 + 4 + 2 + 3
    assert np.array_equal(space.canonical(deep), deep)
    assert [2, 1, 0, 0, 0, 3] in deep.tolist()


@pytest.mark.parametrize("at_most", [0, 1, 4, np.inf])
def test_any_fresh_finds_every_feasible_architecture_and_then_nothing(at_most: float) -> None:
    problem = grid_problem(3, 3, at_most=at_most)
    every = np.array(list(np.ndindex(3, 3, 3)))
    seen: set[bytes] = set()
    for _ in range(int((every.sum(axis=1) <= at_most).sum())):
        row = any_fresh(problem, seen, np.random.default_rng(0))
        assert row is not None
        assert row.sum() <= at_most
        assert row.tobytes() not in seen
        seen.add(row.tobytes())
    assert any_fresh(problem, seen, np.random.default_rng(0)) is None


def test_any_fresh_lists_a_space_of_more_choices_than_numpy_has_dimensions() -> None:
    space = SearchSpace(tuple(choice(f"c{n}", *range(2 if n < 3 else 1)) for n in range(70)))
    problem = dataclasses.replace(grid_problem(), space=space)
    seen: set[bytes] = set()
    for _ in range(8):
        row = any_fresh(problem, seen, np.random.default_rng(0))
        assert row is not None
        seen.add(row.tobytes())
    assert len(seen) == 8
    assert any_fresh(problem, seen, np.random.default_rng(0)) is None


def far_away(problem: Problem, target: IntArray) -> Problem:
    """Only ``target`` and its neighbours in one choice are feasible."""
    return dataclasses.replace(
        problem, violation=lambda rows: np.maximum((rows != target).sum(axis=1) - 1.0, 0.0)
    )


def test_any_fresh_finds_a_needle_in_a_space_that_can_not_be_listed() -> None:
    problem = far_away(grid_problem(20, 4), np.arange(20) % 4)
    seen: set[bytes] = set()
    for number in range(8):
        row = any_fresh(problem, seen, np.random.default_rng(number))
        assert row is not None
        assert problem.violation(row[None])[0] == 0
        seen.add(row.tobytes())
    assert len(seen) == 8
