"""Limits on measured objectives, from the proposals to the winners."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import optuna
import pytest
from fakes import exact, grid_evaluate, grid_problem

from nas.objective import Measurement
from nas.search import OptunaSampler, SurrogateSearch
from nas.search.loop import search
from nas.search.record.credibility import front_of
from nas.search.record.trials import complete_trials, costs_of
from nas.space import Architecture, FloatArray
from nas.strategy import Problem, Strategy
from surrogates.gaussian_process import GaussianProcess

FREE = dataclasses.replace(grid_problem(num_choices=4, num_options=5), count=lambda _: {})
LIMITED = dataclasses.replace(FREE, soft_limits={"size": 5.0})


def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
    row = FREE.space.indices([architecture])[0]
    return {"quality": exact(float(np.sqrt(row).sum())), "size": exact(float(row.sum()))}


def found(problem: Problem, strategy: Strategy, evaluations: int = 48) -> FloatArray:
    directions = [objective.direction for objective in problem.objectives]
    study = optuna.create_study(directions=directions, sampler=strategy.sampler(problem, 0))
    search(study, problem, evaluate, evaluations=evaluations, on_trial=lambda _: None)
    return costs_of(problem.objectives, complete_trials(study))


@pytest.mark.parametrize(
    "strategy",
    [SurrogateSearch(GaussianProcess, num_startup=16), OptunaSampler("TPESampler")],
    ids=["surrogate", "tpe"],
)
def test_the_search_aims_at_what_meets_a_limit(strategy: Strategy) -> None:
    free, limited = found(FREE, strategy), found(LIMITED, strategy)
    met = (limited[16:, 1] <= 5).mean()
    assert met > (free[16:, 1] <= 5).mean() + 0.1


def test_samplers_of_optunas_are_told_of_every_trial_with_values() -> None:
    small = dataclasses.replace(
        grid_problem(num_choices=2, num_options=3), count=lambda _: {}, soft_limits={"size": 2.0}
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(0))
    search(study, small, lambda a: grid_evaluate(small, a), evaluations=9, on_trial=lambda _: None)
    assert len(study.trials) > 9, "some are repeats"
    assert [t.constraints for t in study.trials] == [{"size": t.values[1] - 2} for t in study.trials]


def test_the_best_within_the_limit_is_found() -> None:
    costs = found(LIMITED, SurrogateSearch(GaussianProcess, num_startup=16), 96)
    within = costs[costs[:, 1] <= 5]
    best_of_all = -(3 + np.sqrt(2))  # 1 + 1 + 1 + 2
    assert within[:, 0].min() == pytest.approx(best_of_all)


def test_whoever_reads_the_record_finds_the_same_front() -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0)
    )
    search(study, LIMITED, evaluate, evaluations=30, on_trial=lambda _: None)
    costs = costs_of(LIMITED.objectives, complete_trials(study))
    rows = front_of(study, LIMITED.objectives, costs)
    assert (costs[rows, 1] <= 5).all()
    assert rows.tolist() == np.flatnonzero(LIMITED.front(costs)).tolist()
    assert rows.tolist() != np.flatnonzero(FREE.front(costs)).tolist()
