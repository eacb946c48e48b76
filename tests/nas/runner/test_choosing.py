from __future__ import annotations

import numpy as np
import optuna
import pytest
import torch
from fakes import tiny_study
from optuna.trial import create_trial

from nas import Winners
from nas.errors import EvaluationError
from nas.runner.choosing import choose_winners, goes_by_expectation, near_front
from nas.runner.preparation import Prepared, prepare
from nas.search.models.stand_alone import keep_stand_alone
from nas.search.record.trials import distributions


def recorded(prepared: Prepared, values: list[list[float]]) -> optuna.Study:
    record = optuna.create_study(directions=["maximize", "minimize"])
    space = prepared.problem.space
    rows = np.unique(space.canonical(space.sample_indices(200, np.random.default_rng(0))), axis=0)
    for architecture, pair in zip(space.from_indices(rows), values, strict=False):
        record.add_trial(
            create_trial(params=dict(architecture), distributions=distributions(space), values=pair)
        )
    return record


def test_the_front_comes_first_then_the_front_of_what_is_left() -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    record = recorded(prepared, [[0.5, 1.0], [0.9, 5.0], [0.4, 1.0], [0.8, 5.0], [0.3, 1.0]])
    assert [t.number for t in near_front(prepared, record, 1)] == [1]
    assert sorted(t.number for t in near_front(prepared, record, 2)) == [0, 1]
    assert sorted(t.number for t in near_front(prepared, record, 4)) == [0, 1, 2, 3]
    assert len(near_front(prepared, record, 9)) == 5


def test_winners_are_of_those_that_were_adapted() -> None:
    prepared = prepare(tiny_study(winners=Winners(count=1)), torch.device("cpu"))
    record = recorded(prepared, [[0.9, 1.0], [0.8, 1.0], [0.7, 1.0]])
    assert choose_winners(prepared, record)[0].number == 0
    assert choose_winners(prepared, record, {0: 0.91, 1: 0.95})[0].number == 1


def test_winners_are_chosen_by_what_they_are_expected_to_reach() -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    problem, record = prepared.problem, optuna.create_study(directions=["maximize", "minimize"])
    rows = problem.space.canonical(problem.space.sample_indices(30, np.random.default_rng(0)))
    sizes = problem.count(rows)[problem.objectives[1].name]
    for architecture, size in zip(problem.space.from_indices(rows), sizes, strict=True):
        searched = 1.0 - architecture["width"] / 10  # the supernet has it the wrong way round
        values, space = [searched, float(size)], distributions(problem.space)
        record.add_trial(create_trial(params=dict(architecture), distributions=space, values=values))
    assert choose_winners(prepared, record)[0].params["width"] == 2
    alone = {trial.number: trial.params["width"] / 10 for trial in record.trials[:12]}
    keep_stand_alone(record, "alone", alone)
    assert choose_winners(prepared, record)[0].params["width"] == 8
    assert goes_by_expectation(prepared, record)


def test_where_all_are_expected_to_reach_the_same_winners_are_chosen_by_the_search() -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    record = recorded(prepared, [[0.5 + number / 100, float(number)] for number in range(12)])
    keep_stand_alone(record, "alone", dict.fromkeys(range(12), 0.9))
    assert choose_winners(prepared, record)[0].number == 11
    assert not goes_by_expectation(prepared, record)


def test_no_winner_has_values_too_good_to_be_true(caplog: pytest.LogCaptureFixture) -> None:
    prepared = prepare(tiny_study(winners=Winners(count=30)), torch.device("cpu"))
    space, record = prepared.problem.space, optuna.create_study(directions=["maximize", "minimize"])
    rows = np.unique(space.canonical(space.sample_indices(30, np.random.default_rng(0))), axis=0)
    for number, architecture in enumerate(space.from_indices(rows)):
        values = [0.5 + number / 100, 1000.0 + number]
        record.add_trial(
            create_trial(params=dict(architecture), distributions=distributions(space), values=values)
        )
    for absurd in ([1e12, 1.0], [0.4, -1e12]):
        record.add_trial(
            create_trial(params=dict(architecture), distributions=distributions(space), values=absurd)
        )
    assert sorted(t.number for t in choose_winners(prepared, record)) == list(range(len(rows)))
    told = [r.getMessage() for r in caplog.records if "too good" in r.getMessage()]
    assert told == [
        f"trials {len(rows)}, {len(rows) + 1} have values too good to be true in accuracy, num_params and can't be "
        "on the front: check what measures that."
    ]


def test_without_a_credible_evaluation_there_are_no_winners() -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    space, record = prepared.problem.space, optuna.create_study(directions=["maximize", "minimize"])
    params = dict(space.from_indices(space.canonical(space.sample_indices(1, np.random.default_rng(0))))[0])
    for values in ([1e12, 5.0], [0.5, -1e12]):
        record.add_trial(create_trial(params=params, distributions=distributions(space), values=values))
    with pytest.raises(EvaluationError, match="there is no front: trials 0, 1 have values"):
        choose_winners(prepared, record)
