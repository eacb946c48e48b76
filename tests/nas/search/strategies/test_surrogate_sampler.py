from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, exact, grid_evaluate, grid_problem, with_objectives
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from nas import pareto
from nas.objective import Measurement, Objective
from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.record.storage import open_study
from nas.search.record.trials import PREDICTED_FROM, complete_trials, costs_of, distributions, predictions_of
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction, Problem
from surrogates.mlp_ensemble import MlpEnsemble

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
    """A search of eleven evaluations that nothing interrupted: six to start with, four batches."""
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


def test_what_was_predicted_is_kept_with_the_trial(whole: optuna.Study) -> None:
    assert [bool(predictions_of(t)) for t in whole.trials] == [False] * 6 + [True] * 5
    assert [t.system_attrs[PREDICTED_FROM] for t in whole.trials[6:]] == [6, 7, 8, 8, 10]
    for trial in whole.trials[6:]:
        predicted = predictions_of(trial)
        assert list(predicted) == ["quality"]
        mean, low, high = predicted["quality"]
        assert high <= mean <= low  # a low cost is a high quality


def test_a_fit_follows_a_quarter_more_trials_and_at_the_latest_a_whole_batch() -> None:
    problem = grid_problem(num_choices=8)
    study = memory_study(problem)
    run(study, problem, 26)
    fitted = [trial.system_attrs[PREDICTED_FROM] for trial in study.trials[6:]]
    assert fitted == [6, 7, *[8] * 2, *[10] * 2, *[12] * 3, *[15] * 3, *[18] * 4, *[22] * 4]


def test_what_another_worker_evaluates_is_not_proposed_again() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    run(study, problem, 7)
    asked = [study.ask(distributions(problem.space)) for _ in range(6)]
    assert len({tuple(t.params.values()) for t in [*study.trials[:7], *asked]}) == 13


class KnowingSurrogate:
    """Knows the quality of ``grid_evaluate`` for every architecture, and learns only its scale."""

    def __init__(self, space: SearchSpace) -> None:
        pass

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        self._true, first = np.unique(self._costs(indices), return_index=True)
        self._told = costs[first, 0]

    def predict(self, indices: IntArray) -> Prediction:
        true = self._costs(indices)
        mean = np.interp(true, self._true, self._told) + np.minimum(true - self._true[0], 0.0)
        return Prediction(mean[:, None], np.full((len(indices), 1), 1e-9))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        return self.predict(indices).sample(count, rng)

    def _costs(self, indices: IntArray) -> FloatArray:
        return np.asarray(0.2 * indices[:, 0] - np.sqrt(indices).sum(axis=1))


def test_what_is_picked_beside_running_trials_is_what_promises_most() -> None:
    problem = grid_problem()
    strategy = SurrogateSearch(KnowingSurrogate, num_startup=6, batch_size=4)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))

    def asked() -> tuple[optuna.Trial, list[float]]:
        trial = study.ask(distributions(problem.space))
        values = grid_evaluate(problem, problem.space.architecture(trial.params))
        return trial, [values["quality"].value, values["size"].value]

    for _ in range(3):
        asked()  # and left running
    for _ in range(6):
        study.tell(*asked())
    known = costs_of(problem.objectives, complete_trials(study))
    for _ in range(4):
        quality, size = asked()[1]
        assert not (known <= [-quality, size]).all(axis=1).any(), "a proposal that is sure to add nothing"


def three_objectives(at_most: float) -> Problem:
    """``grid_problem`` with a second counted cost: the last position."""
    grid = grid_problem(num_choices=8, at_most=at_most)
    return dataclasses.replace(
        grid,
        objectives=(*grid.objectives, Objective("last", "", "minimize")),
        count=lambda indices: {**grid.count(indices), "last": indices[:, -1].astype(np.float64)},
    )


def test_every_fourth_proposal_is_any_that_the_surrogate_thinks_well_of() -> None:
    """With a surrogate that knows all, what is picked is on the front, and what is drawn at random is not."""
    problem = three_objectives(at_most=20)
    study = optuna.create_study(directions=[o.direction for o in problem.objectives])

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        last = float(problem.space.indices([architecture])[0, -1])
        return {**grid_evaluate(problem, architecture), "last": exact(last)}

    study.sampler = RandomSampler(seed=0)
    search(study, problem, evaluate, evaluations=57, on_trial=lambda _: None)  # a fit is due
    study.sampler = SurrogateSearch(KnowingSurrogate, num_startup=6, batch_size=8).sampler(problem, 0)
    search(study, problem, evaluate, evaluations=65, on_trial=lambda _: None)
    costs = costs_of(problem.objectives, complete_trials(study))
    proposed = costs[57:]
    assert pareto.non_dominated(costs)[57:].tolist() == [True, True, True, False, True, True, True, False]
    everything = problem.space.sample_indices(1000, np.random.default_rng(0))
    usual = [grid_evaluate(problem, a)["quality"].value for a in problem.space.from_indices(everything)]
    assert (-proposed[[3, 7], 0] > np.median(usual)).all()
    assert (proposed[:, 1] <= 20).all()


def test_it_finds_a_better_front_than_random_search() -> None:
    problem = grid_problem(num_choices=8)
    strategy = SurrogateSearch(MlpEnsemble, num_startup=8, batch_size=8)
    volumes = []
    for sampler in (strategy.sampler(problem, 0), RandomSampler(seed=0)):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        run(study, problem, 40)
        costs = costs_of(problem.objectives, complete_trials(study))
        volumes.append(pareto.hypervolume(costs, np.array([0.0, 25.0])))
    assert volumes[0] > 1.05 * volumes[1]


def test_a_value_too_good_to_be_true_teaches_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    problem = grid_problem(num_choices=8)
    strategy = SurrogateSearch(MlpEnsemble, num_startup=8, batch_size=8)

    def volume(absurd: int) -> float:
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))

        def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
            values = dict(grid_evaluate(problem, architecture))
            return values | {"quality": exact(1e12)} if len(study.trials) == absurd else values

        search(study, problem, evaluate, evaluations=40, on_trial=lambda _: None)
        kept = [trial for trial in complete_trials(study) if trial.values[0] < 1e12]
        return pareto.hypervolume(costs_of(problem.objectives, kept), np.array([0.0, 25.0]))

    assert volume(absurd=6) > 0.97 * volume(absurd=-1)
    told = [record.getMessage() for record in caplog.records if "too good" in record.getMessage()]
    assert told == ["trial 5 has values too good to be true: taken for the worst there are"]


def test_one_objective_is_enough() -> None:
    problem = with_objectives(grid_problem(), Objective("quality", "", "maximize"))
    strategy = SurrogateSearch(MlpEnsemble, num_startup=6, batch_size=4)
    study = optuna.create_study(direction="maximize", sampler=strategy.sampler(problem, 0))
    run(study, problem, 24)
    best = max(t.values[0] for t in complete_trials(study))
    every = problem.space.from_indices(_every(problem))
    assert best == max(grid_evaluate(problem, a)["quality"].value for a in every)


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
    assert problem.space.indices([trial.params])[0].tolist() == target.tolist()


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
