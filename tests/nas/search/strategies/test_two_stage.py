from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem
from optuna.samplers import BaseSampler

from nas.errors import StudyError
from nas.objective import Measurement
from nas.pareto import non_dominated
from nas.search import LocalSearch, OptunaSampler, ResponseSurfaceSearch, SurrogateSearch, TwoStage
from nas.search.loop import search
from nas.search.record.trials import complete_trials, costs_of, distributions, indices_of
from nas.space import Architecture, FloatArray, IntArray
from nas.strategy import Problem
from nas.testing import check_strategy, toy_evaluate, toy_problem

PARTITION = (("width", "kernel"), ("depth", "second.*", "mode"))
PROBLEM = toy_problem()


@pytest.mark.parametrize("carry", ["pareto", "knee"])
@pytest.mark.parametrize("default", ["largest", "smallest"])
def test_it_keeps_the_contract_and_wastes_nothing(carry: Any, default: Any) -> None:
    inner = ResponseSurfaceSearch(NearestSurrogate, num_startup=4)
    check_strategy(TwoStage(inner, PARTITION, 8, carry, default), never_wastes=True)


@pytest.mark.parametrize("name", ["RandomSampler", "NSGAIISampler", "TPESampler"])
def test_around_a_sampler_of_optunas_nothing_is_wasted(name: str) -> None:
    strategy = TwoStage(OptunaSampler(name), PARTITION, 8, default="smallest")
    check_strategy(strategy, exact_resume=False, never_wastes=True)


def searched(strategy: TwoStage, evaluations: int) -> tuple[np.ndarray, np.ndarray, optuna.Study]:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(PROBLEM, 0))
    search(
        study, PROBLEM, lambda a: toy_evaluate(PROBLEM, a), evaluations=evaluations, on_trial=lambda _: None
    )
    complete = complete_trials(study)
    rows = indices_of(PROBLEM.space, study.get_trials())
    return rows, costs_of(PROBLEM.objectives, complete), study


@pytest.mark.parametrize("carry", ["pareto", "knee"])
def test_the_second_stage_goes_on_from_what_the_first_found(carry: Any) -> None:
    rows, costs, study = searched(TwoStage(LocalSearch(4), PARTITION, 12, carry, "smallest"), 40)
    assert (rows[:12, 2:] == 0).all()
    complete = [t.number for t in complete_trials(study) if t.number < 12]
    front = rows[complete][non_dominated(costs[: len(complete)])][:, :2].tolist()
    later = {tuple(row) for row in rows[12:, :2].tolist()}
    assert later <= {tuple(row) for row in front}
    assert len(later) == 1 if carry == "knee" else len(later) > 1


def carried(problem: Problem, evaluate: Any) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the first stage's groups of two choices, and those of all later trials."""
    strategy = TwoStage(LocalSearch(4), (("c0", "c1"), ("c2", "c3")), 10, default="smallest")
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))
    search(study, problem, evaluate, evaluations=40, on_trial=lambda _: None)
    rows = [tuple(row[:2]) for row in indices_of(problem.space, complete_trials(study)).tolist()]
    return rows[:10], rows[10:]


def test_what_is_carried_keeps_to_the_soft_limits() -> None:
    problem = dataclasses.replace(grid_problem(), soft_limits={"size": 3.0})
    first, later = carried(problem, lambda a: grid_evaluate(problem, a))
    assert max(map(sum, first)) > 3
    assert max(map(sum, later)) <= 3


def test_what_is_too_good_to_be_true_does_not_decide_what_is_carried() -> None:
    lured = (2, 3)
    problem = grid_problem()

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        values = dict(grid_evaluate(problem, architecture))
        absurd = (architecture["c0"], architecture["c1"]) == lured
        return values | {"quality": dataclasses.replace(values["quality"], value=1e12)} if absurd else values

    first, later = carried(problem, evaluate)
    assert lured in first
    assert lured not in later
    assert len(set(later)) > 1


def test_a_first_stage_that_is_exhausted_ends_early_and_so_does_the_second() -> None:
    partition = (("mode",), ("width", "kernel", "depth", "second.*"))
    rows, _, _ = searched(TwoStage(LocalSearch(1), partition, 100, default="smallest"), 12)
    assert (rows[:4, :5] == 0).all()
    assert (rows[4:, :5] != 0).any(axis=1).all()
    partition = (("width", "kernel", "depth", "second.*"), ("mode",))
    rows, _, _ = searched(TwoStage(LocalSearch(1), partition, 1, carry="knee"), 8)
    assert len(np.unique(rows[:4, :5], axis=0)) == 1, "one design, four modes"
    assert len(np.unique(rows[4:, :5], axis=0)) > 1, "then the whole space"


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in caplog.records if "two-stage" in r.getMessage()]


def small_where(problem: Problem, second: int) -> Problem:
    """No architecture is feasible unless the second group is smaller than this."""
    return dataclasses.replace(
        problem, violation=lambda rows: np.maximum(rows[:, 2:].sum(axis=1) - second + 1.0, 0.0)
    )


@pytest.mark.parametrize("cause", ["a constraint", "failures"])
def test_a_first_stage_that_finds_nothing_leads_to_the_whole_space(
    cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    grid = grid_problem()
    problem = small_where(grid, 6) if cause == "a constraint" else grid
    strategy = TwoStage(LocalSearch(4), (("c0", "c1"), ("c2", "c3")), 6)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        if architecture["c2"] == architecture["c3"] == 3 and len(study.trials) <= 6:
            raise RuntimeError("an accident")
        return grid_evaluate(problem, architecture)

    search(study, problem, evaluate, evaluations=60, on_trial=lambda _: None)
    rows = indices_of(problem.space, complete_trials(study))
    assert len(np.unique(rows[:, :2], axis=0)) > 4
    assert len(np.unique(rows[:, 2:], axis=0)) > 4
    warnings = [text for level, text in messages(caplog) if level == logging.WARNING]
    assert len(warnings) == 1
    assert "no design of the first stage has values" in warnings[0]


def test_every_change_of_stage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    searched(TwoStage(LocalSearch(4), PARTITION, 12, default="smallest"), 30)
    assert messages(caplog) == [
        (logging.INFO, "two-stage search: trial 0 is from the first stage"),
        (logging.INFO, "two-stage search: trial 12 is from the second stage"),
    ]


@pytest.mark.parametrize(("evaluations", "is_warned"), [(8, True), (9, False)])
def test_a_budget_that_may_end_in_the_first_stage_is_warned_of(
    evaluations: int, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    searched(TwoStage(LocalSearch(4), PARTITION, 8, default="smallest"), evaluations)
    assert ("first_evaluations=8" in caplog.text) == is_warned


@final
@dataclass(frozen=True)
class Counted:
    """A local search that notes for which spaces it is asked for a sampler."""

    made: list[tuple[str, ...]]

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        self.made.append(tuple(choice.name for choice in problem.space.choices))
        return LocalSearch(1).sampler(problem, seed)


def test_nobody_is_asked_about_an_exhausted_stage_again() -> None:
    made: list[tuple[str, ...]] = []
    partition = (("mode",), ("width", "kernel", "depth", "second.*"))
    searched(TwoStage(Counted(made), partition, 100, carry="knee", default="smallest"), 12)
    assert len(made) == len(set(made)) == 2


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        ((("width", "wdith"), ("kernel", "depth", "second.*", "mode")), "'wdith' fits no choice"),
        ((("width", "kernel"), ("*",)), "'width' is in both groups"),
        ((("width",), ("kernel", "depth", "second.*")), "'mode' is in no group"),
    ],
)
def test_a_partition_that_does_not_fit_is_refused(partition: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        TwoStage(LocalSearch(), partition, 8).sampler(PROBLEM, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_evaluations": 0}, "first_evaluations=0"),
        ({"carry": "best"}, "carry='best'"),
        ({"default": "middle"}, "default='middle'"),
        ({"partition": ("width", "kernel")}, "partition"),
        ({"partition": (("width",),)}, "partition"),
        ({"partition": (("*",), ())}, "partition"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"inner": LocalSearch(), "partition": PARTITION, "first_evaluations": 8}
    with pytest.raises(StudyError, match=message):
        TwoStage(**(usual | settings))


def test_the_inner_sampler_finds_its_notes_again() -> None:
    """NSGA-II keeps its generations in the trials' system attributes."""
    _, _, study = searched(TwoStage(OptunaSampler("NSGAIISampler"), PARTITION, 100, default="smallest"), 12)
    assert all(t.system_attrs == {"NSGAIISampler:generation": 0} for t in study.get_trials())


@final
@dataclass(frozen=True)
class SmallPopulation:
    """NSGA-II with a population that the first stage fills more than once."""

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        return optuna.samplers.NSGAIISampler(population_size=4, seed=seed)


def test_the_second_stage_begins_with_a_generation_of_its_own() -> None:
    problem = grid_problem(num_choices=6)
    strategy = TwoStage(SmallPopulation(), (("c0", "c1"), ("c[2-5]",)), 12)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=18, on_trial=lambda _: None)
    rows = indices_of(problem.space, study.get_trials())
    is_first = (rows[:, 2:] == 3).all(axis=1)
    generations = np.array([t.system_attrs["NSGAIISampler:generation"] for t in study.get_trials()])
    assert is_first.sum() == 12
    assert generations[is_first].max() > 1
    assert generations[~is_first].tolist() == [0] * 4 + [1] * 2


def test_what_is_fitted_is_not_fitted_again() -> None:
    fits: list[int] = []

    class Noting(NearestSurrogate):
        def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
            fits.append(len(costs))
            super().fit(indices, costs, rng)

    inner = SurrogateSearch(Noting, num_startup=4, batch_size=4)
    _, _, study = searched(TwoStage(inner, PARTITION, 100, default="smallest"), 15)  # some fail
    assert fits[:6] == [4, 5, 6, 7, 8, 10]
    study.ask(distributions(PROBLEM.space))
    assert fits == sorted(set(fits))
    before = list(fits)
    study.ask(distributions(PROBLEM.space))
    assert fits == before


def test_an_exhausted_stage_is_not_fitted() -> None:
    asked: list[str] = []
    partition = (("mode",), ("width", "kernel", "depth", "second.*"))

    class Noting(NearestSurrogate):
        def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
            asked.append("fit")
            super().fit(indices, costs, rng)

    inner = SurrogateSearch(Noting, num_startup=4, batch_size=20)
    _, _, study = searched(TwoStage(inner, partition, 100, carry="knee", default="smallest"), 14)
    for _ in range(3):
        asked.clear()
        study.ask(distributions(PROBLEM.space))
        assert len(asked) <= 1
