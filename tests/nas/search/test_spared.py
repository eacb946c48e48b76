"""Searches of a table that measure few latencies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate

from nas import SurrogateSearch
from nas.choices import choice
from nas.objective import Measurement, Objective
from nas.search.loop import search
from nas.search.record.trials import complete_trials, contradiction, costs_of, measure_later, measurements_of
from nas.search.spared import Spare, SparedLatency
from nas.space import Architecture, IntArray, SearchSpace
from nas.strategy import Problem

SPACE = SearchSpace(tuple(choice(f"layer{i}", 1, 2, 4, 8) for i in range(5)))
OBJECTIVES = (Objective("error", "%", "minimize"), Objective("ms", "ms", "minimize"))
PROBLEM = Problem(SPACE, OBJECTIVES, lambda indices: {}, lambda indices: np.zeros(len(indices)))


def error(indices: IntArray) -> float:
    return float(50 / (1 + (indices * np.arange(1, 6)).sum()))


def milliseconds(indices: IntArray) -> float:
    return float(1 + (2.0**indices).sum())


def evaluated(architecture: Architecture) -> dict[str, Measurement]:
    row = SPACE.indices([architecture])[0]
    return {
        "error": Measurement(error(row), 0.1, "%", "here", 1),
        "ms": Measurement(milliseconds(row), 0.01, "ms", "there", 5),
    }


def searched(
    budget: int, evaluations: int = 30, seed: int = 0, problem: Problem = PROBLEM
) -> tuple[optuna.Study, SparedLatency]:
    strategy = SurrogateSearch(NearestSurrogate, num_startup=10, batch_size=8)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=strategy.sampler(problem, seed))
    spared = SparedLatency(problem, Spare("ms", budget))

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        found = evaluated(architecture)
        others = {"error": found["error"]}
        return {**others, "ms": spared.predict(spared.find_basis(study), architecture, others) or found["ms"]}

    search(study, problem, evaluate, evaluations=evaluations, on_trial=lambda trial: None)
    return study, spared


def measure_what_is_left(study: optuna.Study, spared: SparedLatency) -> int:
    rounds = 0
    while unsettled := spared.list_unsettled(study):
        rounds += 1
        for trial in unsettled:
            measurement = evaluated(SPACE.architecture(trial.params))["ms"]
            measure_later(study, trial.number, 1, "ms", measurement)
    return rounds


@pytest.mark.parametrize("budget", [10, 18, 100])
def test_no_more_is_measured_than_may_be(budget: int) -> None:
    study, spared = searched(budget)
    before = len(spared.list_measured(complete_trials(study)))
    measure_what_is_left(study, spared)
    trials = complete_trials(study)
    assert len(trials) == 30
    assert before <= len(spared.list_measured(trials)) <= min(budget, 30)


def test_what_is_on_the_front_in_the_end_was_measured() -> None:
    study, spared = searched(30)
    assert measure_what_is_left(study, spared) >= 1
    trials = complete_trials(study)
    front = PROBLEM.front(costs_of(OBJECTIVES, trials))
    on_front = [trial for trial, on in zip(trials, front, strict=True) if on]
    assert len(spared.list_measured(trials)) <= 30
    assert spared.list_measured(on_front) == on_front
    assert spared.list_unsettled(study) == []


def test_predictions_are_near_and_say_what_they_are() -> None:
    study, _ = searched(16)
    trials = complete_trials(study)
    predicted = [t for t in trials if measurements_of(t)["ms"].repeats == 0]
    assert predicted
    for trial in predicted:
        told = measurements_of(trial)["ms"]
        assert told.device.startswith("predicted from ")
        assert told.device.endswith(" measured on there")
        assert told.value == trial.values[1]
        true = evaluated(SPACE.architecture(trial.params))["ms"].value
        assert abs(told.value - true) < max(4 * told.spread, 0.15 * true)


def test_a_candidate_that_others_dominate_for_sure_is_not_measured() -> None:
    study, spared = searched(100)
    basis = spared.find_basis(study)
    worst = SPACE.largest()
    assert spared.predict(basis, worst, {"error": Measurement(99.0, 0.1, "%", "here", 1)}) is not None
    assert spared.predict(basis, worst, {"error": Measurement(0.0, 0.1, "%", "here", 1)}) is None


def test_what_is_measured_later_is_what_the_record_tells() -> None:
    study, spared = searched(16)
    number = next(t.number for t in complete_trials(study) if measurements_of(t)["ms"].repeats == 0)
    measure_later(study, number, 1, "ms", Measurement(3.25, 0.1, "ms", "there", 5))
    trial = next(t for t in complete_trials(study) if t.number == number)
    assert trial.values[1] == 3.25
    assert measurements_of(trial)["ms"] == Measurement(3.25, 0.1, "ms", "there", 5)
    assert trial in spared.list_measured([trial])
    assert contradiction(SPACE, OBJECTIVES, study) is None
    assert study.trials[number].values[1] != 3.25  # Optuna keeps it as it was


def test_a_resumed_search_decides_as_one_that_was_not_interrupted() -> None:
    whole, spared = searched(16)
    afresh = SparedLatency(PROBLEM, Spare("ms", 16))
    assert [t.number for t in afresh.list_unsettled(whole)] == [
        t.number for t in spared.list_unsettled(whole)
    ]
    other = SPACE.architecture(dict.fromkeys([c.name for c in SPACE.choices], 2))
    others = {"error": Measurement(30.0, 0.1, "%", "here", 1)}
    assert afresh.predict(afresh.find_basis(whole), other, others) == spared.predict(
        spared.find_basis(whole), other, others
    )
