from __future__ import annotations

import optuna
import pytest
from fakes import grid_problem
from optuna.trial import TrialState

from nas.search.record.ledger import Ledger
from nas.search.record.trials import ARCHITECTURE, FORGIVEN, LOST, RETRIES, distributions

SPACE = grid_problem().space
DISTRIBUTIONS = distributions(SPACE)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0)
    )


def begin(study: optuna.Study, **attributes: object) -> optuna.Trial:
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr(ARCHITECTURE, SPACE.architecture(trial.params).id)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def test_every_trial_is_told_once_when_it_is_finished(study: optuna.Study) -> None:
    ledger = Ledger(study, SPACE)
    first, second = begin(study), begin(study)
    assert ledger.read_on() == []
    assert set(ledger.running) == {0, 1}
    assert ledger.list_claimed(besides=1) == {first.user_attrs[ARCHITECTURE]}
    study.tell(second, [1.0, 2.0])
    assert [trial.number for trial in ledger.read_on()] == [1]
    study.tell(first, state=TrialState.FAIL)
    assert [trial.number for trial in ledger.read_on()] == [0]
    assert ledger.read_on() == []
    assert (ledger.paid, ledger.num_tried, ledger.running) == (2, 2, {})
    assert set(ledger.known) == {second.user_attrs[ARCHITECTURE]}
    assert ledger.failed == {first.user_attrs[ARCHITECTURE]}


def test_a_lost_trial_costs_nothing_and_waits_until_another_takes_its_place(study: optuna.Study) -> None:
    study.tell(begin(study, **{LOST: "the board is away"}), state=TrialState.FAIL)
    ledger = Ledger(study, SPACE)
    ledger.read_on()
    assert (ledger.paid, set(ledger.lost), ledger.failed) == (0, {0}, set())
    begin(study, **{RETRIES: 0})
    ledger.read_on()
    assert ledger.lost == {}


def test_what_is_forgiven_later_is_given_back(study: optuna.Study) -> None:
    study.tell(begin(study), state=TrialState.FAIL)
    ledger = Ledger(study, SPACE)
    ledger.read_on()
    assert (ledger.paid, len(ledger.failed)) == (1, 1)
    study.set_user_attr(FORGIVEN, [0])
    ledger.read_on()
    assert (ledger.paid, ledger.failed, set(ledger.lost)) == (0, set(), {0})


def test_who_reads_all_at_once_knows_what_who_read_on_knows(study: optuna.Study) -> None:
    reading = Ledger(study, SPACE)
    for number in range(6):
        trial = begin(study, **({LOST: "away"} if number == 2 else {RETRIES: 2} if number == 4 else {}))
        reading.read_on()
        failed = number in (2, 3)
        study.tell(trial, None if failed else [1.0, 2.0], TrialState.FAIL if failed else None)
        reading.read_on()
    study.set_user_attr(FORGIVEN, [3])
    reading.read_on()
    late = Ledger(study, SPACE)
    late.read_on()
    for ledger in (reading, late):
        assert (ledger.paid, set(ledger.lost), ledger.failed) == (4, {3}, set())
    assert reading.known.keys() == late.known.keys()
