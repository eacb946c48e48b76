from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, exact, grid_evaluate, grid_problem
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from nas import pareto
from nas.objective import Measurement, Objective
from nas.protocols import Problem
from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.record import complete_trials, costs_of
from nas.search.storage import open_study
from nas.search.surrogate_sampler import CostModel
from nas.space import Architecture

OURS = SurrogateSearch(NearestSurrogate, num_startup=6, batch_size=4)


def memory_study(problem: Problem, seed: int = 0) -> optuna.Study:
    directions = [o.direction for o in problem.objectives]
    return optuna.create_study(directions=directions, sampler=OURS.sampler(problem, seed))


def run(study: optuna.Study, problem: Problem, evaluations: int) -> None:
    search(
        study, problem, lambda a: grid_evaluate(problem, a), evaluations=evaluations, on_trial=lambda _: None
    )


def params(study: optuna.Study) -> list[dict[str, object]]:
    return [trial.params for trial in study.trials]


@pytest.fixture(scope="module")
def whole() -> optuna.Study:
    """A search of eleven evaluations that nothing interrupted: six to start with, two batches."""
    problem = grid_problem()
    study = memory_study(problem)
    run(study, problem, 11)
    return study


@pytest.mark.parametrize("stop", [1, 6, 8, 10])
def test_resuming_in_any_place_of_a_batch_proposes_the_same(
    tmp_path: Path, whole: optuna.Study, stop: int
) -> None:
    problem = grid_problem()
    for mark in (stop, 11):  # a new sampler and the storage opened anew
        study = open_study(tmp_path / "study.db", "s", problem.objectives, OURS.sampler(problem, 0))
        run(study, problem, mark)
    assert params(study) == params(whole)


def test_the_seed_decides(whole: optuna.Study) -> None:
    problem = grid_problem()
    studies = [memory_study(problem, seed) for seed in (0, 1)]
    for study in studies:
        run(study, problem, 11)
    assert params(studies[0]) == params(whole) != params(studies[1])


def test_it_starts_with_the_ends() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    run(study, problem, 2)
    assert [tuple(p.values()) for p in params(study)] == [(0, 0, 0, 0), (3, 3, 3, 3)]


def test_it_finds_a_better_front_than_random_search() -> None:
    problem = grid_problem(num_choices=8)
    volumes = []
    for sampler in (OURS.sampler(problem, 0), RandomSampler(seed=0)):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        run(study, problem, 40)
        costs = costs_of(problem.objectives, complete_trials(study))
        volumes.append(pareto.hypervolume(costs, np.array([0.0, 25.0])))
    assert volumes[0] > volumes[1]


def with_objectives(problem: Problem, *objectives: Objective) -> Problem:
    counted = {o.name for o in objectives if o.name == "size"}
    count = problem.count if counted else lambda _indices: {}
    return dataclasses.replace(problem, objectives=objectives, count=count)


def test_one_objective_is_enough() -> None:
    problem = with_objectives(grid_problem(), Objective("quality", "", "maximize"))
    study = memory_study(problem)
    run(study, problem, 24)
    best = max(t.values[0] for t in complete_trials(study))
    true = max(
        grid_evaluate(problem, a)["quality"].value for a in problem.space.from_indices(_every(problem))
    )
    assert best >= 0.95 * true


def _every(problem: Problem) -> np.ndarray:
    return np.array(list(np.ndindex(*problem.space.num_options)), dtype=np.int64)


def test_twelve_objectives_are_possible() -> None:
    objectives = tuple(Objective(f"o{n}", "", "maximize" if n % 2 else "minimize") for n in range(12))
    problem = with_objectives(grid_problem(), *objectives)
    study = memory_study(problem)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        row = problem.space.indices([architecture])[0]
        waves = np.sin(np.outer(np.arange(1, 13), row + 1)).sum(axis=1)
        return {o.name: exact(float(v)) for o, v in zip(objectives, waves, strict=True)}

    search(study, problem, evaluate, evaluations=12, on_trial=lambda _: None)
    assert len(complete_trials(study)) == 12


@pytest.mark.parametrize("constant", [("quality",), ("size",), ("quality", "size")])
def test_constant_objectives_are_no_obstacle(constant: tuple[str, ...]) -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("size_ms", "ms", "minimize")
    )
    study = memory_study(problem)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        values = grid_evaluate(problem, architecture)
        return {
            "quality": exact(0.0) if "quality" in constant else values["quality"],
            "size_ms": exact(0.0) if "size" in constant else values["size"],
        }

    search(study, problem, evaluate, evaluations=14, on_trial=lambda _: None)
    assert len(complete_trials(study)) == 14


def test_only_failures_before_the_first_fit_are_no_obstacle() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    evaluated = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal evaluated
        evaluated += 1
        if evaluated <= 9:
            raise RuntimeError("not ready")
        return grid_evaluate(problem, architecture)

    search(study, problem, evaluate, evaluations=20, on_trial=lambda _: None)
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 9 + [TrialState.COMPLETE] * 11
    assert len({tuple(p.values()) for p in params(study)}) == 20


def test_one_feasible_architecture_in_a_large_space_is_no_crash() -> None:
    """The feasible one is neither an end nor in any sample."""
    problem = grid_problem(num_choices=16)
    target = np.arange(16) % 4

    def violation(indices: np.ndarray) -> np.ndarray:
        return np.abs(indices - target).sum(axis=1).astype(np.float64)

    narrow = dataclasses.replace(problem, violation=violation)
    sampler = OURS.sampler(narrow, 0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    trial = study.ask(
        {c.name: optuna.distributions.CategoricalDistribution(c.options) for c in problem.space.choices}
    )
    narrow.space.architecture(trial.params)


@pytest.mark.parametrize("at_most", [0, 1, 3])
def test_hard_constraints_hold_and_nothing_repeats(at_most: int) -> None:
    problem = grid_problem(at_most=at_most)
    feasible = int((problem.violation(_every(problem)) <= 0).sum())
    study = memory_study(problem)
    run(study, problem, min(feasible, 16))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * min(feasible, 16)
    assert len({tuple(p.values()) for p in params(study)}) == min(feasible, 16)


def test_the_study_of_another_sampler_can_be_gone_on_with() -> None:
    problem = grid_problem()
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=RandomSampler(seed=5))
    run(study, problem, 9)
    study.sampler = OURS.sampler(problem, 0)
    run(study, problem, 20)
    assert len({tuple(p.values()) for p in params(study)}) >= 20


def test_counted_objectives_are_exact_in_the_model() -> None:
    problem = grid_problem()
    rows = problem.space.sample_indices(8, np.random.default_rng(0))
    values = [grid_evaluate(problem, a) for a in problem.space.from_indices(rows)]
    costs = np.array([[-v["quality"].value, v["size"].value] for v in values])
    model = CostModel(problem, NearestSurrogate(), rows, costs, np.random.default_rng(0))
    queries = problem.space.sample_indices(20, np.random.default_rng(1))
    for deviations in (-1.0, 0.0, 3.0):
        predicted = model.predict(queries).at(np.full((20, 2), deviations))
        assert predicted[:, 1].tolist() == queries.sum(axis=1).tolist()
    assert np.allclose(model.predict(rows).at(np.zeros((8, 2))), costs)


SHAPES = {
    "spread over factors": np.geomspace(0.01, 100, 9),
    "one far away": np.array([1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1e4]),
    "nearly equal": 5.0 + 1e-9 * np.arange(9),
    "two values": np.array([0.0] * 8 + [1.0]),
    "a long tail of bad ones": -np.array([0.1, 0.1, 0.2, 0.95, 0.96, 0.96, 0.97, 0.97, 0.98]),
    "huge": 1e12 * np.arange(1, 10),
    "tiny": 1e-12 * np.arange(1, 10),
    "constant": np.full(9, 0.3),
    "zero": np.zeros(9),
}


@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES.keys())
def test_predictions_are_finite_however_the_costs_lie_and_exact_where_they_are_known(
    values: np.ndarray,
) -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    )
    rows = np.unique(problem.space.sample_indices(20, np.random.default_rng(0)), axis=0)[:9]
    costs = np.column_stack([np.linspace(-1, 0, 9), values])
    model = CostModel(problem, NearestSurrogate(), rows, costs, np.random.default_rng(0))
    queries = problem.space.sample_indices(50, np.random.default_rng(1))
    for deviations in (-10.0, -1.0, 1.0, 10.0):
        assert np.isfinite(model.predict(queries).at(np.full((50, 2), deviations))).all()
    known = model.predict(rows).at(np.zeros((9, 2)))
    assert np.allclose(known, costs, rtol=1e-3, atol=1e-3 * np.ptp(values) + 1e-15)


def test_more_deviations_never_mean_less_cost() -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    )
    rows = problem.space.sample_indices(9, np.random.default_rng(0))
    costs = np.column_stack([np.linspace(-1, 0, 9), SHAPES["spread over factors"]])
    model = CostModel(problem, NearestSurrogate(), rows, costs, np.random.default_rng(0))
    predicted = model.predict(problem.space.sample_indices(30, np.random.default_rng(1)))
    steps = [predicted.at(np.full((30, 2), deviations)) for deviations in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert all((after >= before).all() for before, after in itertools.pairwise(steps))
