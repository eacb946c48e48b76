"""Failures that say nothing of the architecture."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import optuna
import pytest
from fakes import NearestSurrogate, exact, grid_evaluate, grid_problem, with_objectives
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from nas.errors import DamagedFileError, DeviceRefusedError, DeviceUnavailableError, EvaluationError
from nas.objective import Measurement, Objective
from nas.search import LocalSearch, OptunaSampler, ResponseSurfaceSearch, SurrogateSearch
from nas.search.loop import search
from nas.search.patience import Pauses, is_passing, retry, wait_for_device
from nas.search.record.trials import ERROR, LOST, RETRIES, complete_trials, list_paid_trials
from nas.space import Architecture
from nas.strategy import Problem, Strategy

AWAY = DeviceUnavailableError("the board at 10.0.0.7 doesn't answer")
Evaluate = Callable[[Architecture], Mapping[str, Measurement]]
TIMED = with_objectives(
    grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
)


def timed(architecture: Architecture, latency: float = 1.0) -> dict[str, Measurement]:
    quality = float(TIMED.space.indices([architecture]).sum())
    return {"quality": exact(quality), "latency_ms": exact(latency, "ms")}


def searched(
    evaluate: Evaluate,
    *,
    strategy: Strategy | None = None,
    evaluations: int = 8,
    problem: Problem = TIMED,
) -> tuple[optuna.Study, list[float]]:
    """Search, and return the study and the pauses that were made."""
    sampler = RandomSampler(seed=0) if strategy is None else strategy.sampler(problem, 0)
    study = optuna.create_study(directions=[o.direction for o in problem.objectives], sampler=sampler)
    pauses: list[float] = []
    search(study, problem, evaluate, evaluations=evaluations, on_trial=lambda _: None, sleep=pauses.append)
    return study, pauses


@pytest.mark.parametrize(
    "strategy",
    [
        SurrogateSearch(NearestSurrogate, num_startup=4, batch_size=2),
        LocalSearch(),
        ResponseSurfaceSearch(NearestSurrogate),
        OptunaSampler("RandomSampler"),
        OptunaSampler("NSGAIISampler"),
        OptunaSampler("TPESampler"),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_an_evaluation_whose_device_is_away_is_lost_and_proposed_again(
    strategy: Strategy, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        asked.append(architecture.id)
        if 5 <= len(asked) < 5 + 8:
            raise AWAY
        return timed(architecture)

    study, pauses = searched(evaluate, strategy=strategy)
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == 8
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert set(asked[4:13]) == {asked[4]}
    lost = [t for t in study.trials if t.state == TrialState.FAIL]
    assert [t.user_attrs[LOST] for t in lost] == [True] * 8
    assert [t.user_attrs[RETRIES] for t in study.trials if RETRIES in t.user_attrs] == [
        t.number for t in lost
    ]
    assert not any(ERROR in t.user_attrs for t in study.trials)
    assert "waiting for a device: the board at 10.0.0.7 doesn't answer; trying again in 8 s" in caplog.text


def test_pauses_begin_anew_once_the_device_has_answered() -> None:
    calls = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal calls
        calls += 1
        if calls in (2, 3, 6):
            raise AWAY
        return timed(architecture)

    assert searched(evaluate)[1] == [1, 2, 1]


def test_a_device_that_refuses_ends_the_search_and_fails_no_trial() -> None:
    calls = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise DeviceRefusedError("the agent doesn't take the token")
        return timed(architecture)

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=RandomSampler(seed=0))
    with pytest.raises(DeviceRefusedError, match="doesn't take the token"):
        search(study, TIMED, evaluate, evaluations=8, on_trial=lambda _: None)
    assert calls == 4
    assert len(complete_trials(study)) == 3
    assert not any(ERROR in t.user_attrs for t in study.trials)


@pytest.mark.parametrize(
    ("lost", "pauses"),
    [
        (OSError("a file handle too many"), []),
        (MemoryError("for a moment"), []),
        (ConnectionResetError("closed by the other side"), [1, 10, 60]),
        (TimeoutError("no answer"), [1, 10, 60]),
        (math.nan, []),
        (math.inf, []),
    ],
)
def test_what_may_pass_is_tried_up_to_three_times_more(lost: Exception | float, pauses: list[float]) -> None:
    def failing(times: int) -> Evaluate:
        calls: dict[str, int] = {}

        def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
            calls[architecture.id] = calls.get(architecture.id, 0) + 1
            if len(calls) != 3 or calls[architecture.id] > times:
                return timed(architecture)
            if isinstance(lost, Exception):
                raise lost
            return timed(architecture, lost)

        return evaluate

    study, made = searched(failing(3))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 8
    assert made == pauses
    study, _ = searched(failing(4))
    assert [t.state for t in study.trials].count(TrialState.FAIL) == 1
    assert study.trials[2].user_attrs[ERROR]
    assert len(list_paid_trials(study)) == 8


@pytest.mark.parametrize("fault", [RuntimeError("of the network"), DamagedFileError("it is cut"), math.nan])
def test_a_failure_of_the_architecture_is_not_tried_again(fault: Exception | float) -> None:
    problem, calls = grid_problem(), 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal calls
        calls += 1
        found = grid_evaluate(problem, architecture)
        if calls != 3:
            return found
        if isinstance(fault, Exception):
            raise fault
        return {**found, "quality": exact(fault)}

    study, pauses = searched(evaluate, problem=problem)
    assert calls == 8
    assert not pauses
    assert study.trials[2].state == TrialState.FAIL


def test_a_counted_value_that_is_not_finite_is_not_tried_again() -> None:
    problem, calls = grid_problem(), 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal calls
        calls += 1
        found = grid_evaluate(problem, architecture)
        return {**found, "size": exact(math.inf)} if calls == 3 else found

    searched(evaluate, problem=problem)
    assert calls == 8


def test_outside_of_a_search_a_device_is_waited_for_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    outcomes = [AWAY, AWAY, ConnectionResetError("closed"), AWAY, 7.0]
    pauses: list[float] = []

    def work() -> float:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert wait_for_device(work, "the calibration", pauses.append) == 7.0
    assert pauses == [1, 2, 1, 4]
    assert "the calibration failed for a reason that may pass (ConnectionResetError: closed)" in caplog.text


def test_what_does_not_pass_is_raised_as_it_is() -> None:
    def work() -> float:
        raise EvaluationError("for good")

    with pytest.raises(EvaluationError, match="for good"):
        retry(work, "it", Pauses().wait)  # type: ignore[arg-type] # never waits


def test_a_sentence_about_a_passing_failure_is_one_too() -> None:
    def told(cause: Exception) -> EvaluationError:
        error = EvaluationError("objective 'latency_ms' failed")
        error.__cause__ = cause
        return error

    assert is_passing(told(ConnectionResetError("closed")))
    assert not is_passing(told(ValueError("of the network")))
    assert not is_passing(told(DamagedFileError("it is cut")))
