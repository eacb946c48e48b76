from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import optuna
import pytest
from fakes import grid_evaluate, grid_problem
from numpy.typing import NDArray

from nas import pareto
from nas.objective import Measurement
from nas.search.loop import search
from nas.search.models.nsga2 import evolve
from nas.space import Architecture, FloatArray, IntArray
from nas.strategy import Problem
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


@pytest.mark.parametrize("enumerated", [True, False])
def test_a_population_with_room_for_the_whole_space_holds_all_of_it(
    enumerated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not enumerated:
        monkeypatch.setattr("nas.search.models.nsga2._FEW_COMBINATIONS", 0)
    problem = grid_problem(at_most=5, num_choices=3, num_options=3)
    every = np.array([row for row in np.ndindex(3, 3, 3) if sum(row) <= 5], dtype=np.int64)
    avoid = frozenset(row.tobytes() for row in every[::2])
    assert evolved(problem, avoid=avoid, size=27).tolist() == every[1::2].tolist()


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


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_has_no_finite_count_is_neither_proposed_nor_paid_for(value: float) -> None:
    base = grid_problem(num_choices=3, num_options=3)

    def is_odd(rows: IntArray) -> NDArray[np.bool_]:
        return np.asarray(rows.sum(axis=1) % 2 == 1)

    def count(rows: IntArray) -> dict[str, FloatArray]:
        return {"size": np.where(is_odd(rows), value, rows.sum(axis=1))}

    problem = dataclasses.replace(base, count=count)
    costs = lambda rows: np.stack([-rows[:, 0], count(rows)["size"]], axis=1).astype(float)  # noqa: E731
    start = np.array([[0, 0, 0], [1, 1, 2]])
    rows = evolve(problem, costs, start=start, avoid=set(), size=16, rng=np.random.default_rng(0))
    assert len(rows) > 0
    assert not is_odd(rows).any()
    paid: list[IntArray] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        paid.append(problem.space.indices([architecture]))
        return grid_evaluate(base, architecture)

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    search(study, problem, evaluate, evaluations=8, on_trial=lambda trial: None)
    assert len(paid) == 8
    assert not is_odd(np.concatenate(paid)).any()


def test_a_space_of_which_all_is_seen_gives_nothing() -> None:
    problem = grid_problem(num_choices=2, num_options=2)
    every = np.array(list(np.ndindex(2, 2)), dtype=np.int64)
    assert len(evolved(problem, avoid=frozenset(row.tobytes() for row in every))) == 0
