from __future__ import annotations

from datetime import datetime, timedelta

import optuna
import pytest
from fakes import grid_problem, search_at_random
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.search.record.trials import (
    SECONDS,
    by_completion,
    complete_trials,
    costs_of,
    indices_of,
    wall_seconds,
)
from nas.testing import toy_problem


def test_costs_turn_the_direction_and_keep_the_columns() -> None:
    problem = grid_problem()
    study = search_at_random(problem, 3)
    costs = costs_of(problem.objectives, complete_trials(study))
    assert costs.tolist() == [[-t.values[0], t.values[1]] for t in study.trials]
    assert costs_of(problem.objectives, []).shape == (0, 2)


def test_positions_of_trials_are_canonical() -> None:
    problem = toy_problem()
    study = optuna.create_study(directions=["maximize", "minimize"])
    options = {"width": 3, "kernel": 5, "depth": 1, "second.width": 4, "second.kernel": 7, "mode": "c"}
    study.enqueue_trial(options)
    trial = study.ask(
        {n: optuna.distributions.CategoricalDistribution(problem.space[n].options) for n in options}
    )
    study.tell(trial, state=TrialState.PRUNED)
    row = indices_of(problem.space, study.trials)[0]
    assert row.tolist() == [2, 1, 0, 0, 0, 2]


def test_trials_are_ordered_by_their_end_not_by_their_number() -> None:
    trials = [ended_trial(number, second) for number, second in enumerate((30.0, 10.0, 20.0))]
    assert [trial.number for trial in by_completion(trials)] == [1, 2, 0]


def ended_trial(number: int, second: float, seconds: float = 1.0) -> FrozenTrial:
    """Return a trial that ended at a second of a certain day and took some seconds."""
    trial = create_trial(value=0.0, user_attrs={SECONDS: seconds})
    trial.number, trial.datetime_complete = number, datetime(2026, 1, 1) + timedelta(seconds=second)
    return trial


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([], 0.0),
        ([(10.0, 4.0), (25.0, 5.0)], 9.0),  # one after another, with a pause
        ([(10.0, 4.0), (12.0, 5.0)], 6.0),  # from 6 to 10 and from 7 to 12
        ([(10.0, 4.0), (12.0, 11.0)], 11.0),  # one within the other
        ([(12.0, 11.0), (10.0, 4.0), (11.0, 1.0)], 11.0),
    ],
)
def test_what_ran_at_the_same_time_counts_once(trials: list[tuple[float, float]], expected: float) -> None:
    found = [ended_trial(number, *times) for number, times in enumerate(trials)]
    assert wall_seconds(found) == pytest.approx(expected)
