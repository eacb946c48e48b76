from __future__ import annotations

import optuna
from fakes import grid_problem, search_at_random
from optuna.trial import TrialState

from nas.search.record.trials import by_completion, complete_trials, costs_of, indices_of
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
    study = optuna.create_study()
    slow, quick = study.ask(), study.ask()
    study.tell(quick, 1.0)
    study.tell(slow, 0.0)
    assert [trial.number for trial in by_completion(study.trials)] == [1, 0]
