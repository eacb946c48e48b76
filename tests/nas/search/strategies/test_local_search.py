from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from fakes import exact, grid_evaluate, grid_problem

from nas.errors import StudyError
from nas.objective import Measurement
from nas.pareto import non_dominated
from nas.search import LocalSearch
from nas.search.loop import search
from nas.search.record.trials import complete_trials, costs_of, indices_of
from nas.space import Architecture
from nas.testing import check_strategy


def test_it_keeps_the_contract_and_wastes_nothing() -> None:
    check_strategy(LocalSearch(), never_wastes=True)


def test_after_the_start_it_moves_to_a_neighbour_of_the_oldest_unexplored_front_member() -> None:
    problem = grid_problem()
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=LocalSearch(num_startup=3).sampler(problem, 0)
    )
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=40, on_trial=lambda _: None)
    trials = complete_trials(study)
    rows, costs = indices_of(problem.space, trials), costs_of(problem.objectives, trials)
    for number in range(3, 40):
        front = rows[:number][non_dominated(costs[:number])]
        unexplored = [m for m in front if num_known_neighbours(m, rows[:number]) < 4 * 3]
        assert (rows[number] != unexplored[0]).sum() == 1


def test_what_is_too_good_to_be_true_is_taken_for_the_worst() -> None:
    problem = grid_problem()

    def proposed(fourth: float) -> list[dict[str, Any]]:
        sampler = LocalSearch(num_startup=6).sampler(problem, 0)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

        def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
            values = dict(grid_evaluate(problem, architecture))
            return values | {"quality": exact(fourth)} if len(study.trials) == 4 else values

        search(study, problem, evaluate, evaluations=20, on_trial=lambda _: None)
        return [trial.params for trial in study.trials]

    assert proposed(fourth=1e12) == proposed(fourth=-1.0) != proposed(fourth=1e8)


def num_known_neighbours(member: np.ndarray, rows: np.ndarray) -> int:
    return int(((rows != member).sum(axis=1) == 1).sum())


def test_it_finds_the_whole_front_of_a_small_space_and_goes_on_at_random() -> None:
    problem = grid_problem(2, 4)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=LocalSearch(num_startup=1).sampler(problem, 0)
    )
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=16, on_trial=lambda _: None)
    assert len({tuple(t.params.values()) for t in study.trials}) == 16


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(StudyError, match="num_startup=0"):
        LocalSearch(num_startup=0)
