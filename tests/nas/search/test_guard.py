"""Workers that judge wrongly, and what a search makes of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import optuna
import pytest
from fakes import grid_evaluate, grid_problem
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from nas.errors import DeviceUnavailableError
from nas.executors import Failed, Job, Lost, Outcome, Persistent, Work
from nas.executors.serial import do_here
from nas.objective import Measurement
from nas.search import guard
from nas.search.loop import Evaluate, search_with
from nas.search.record.trials import WORKER, complete_trials, list_paid_trials
from nas.space import Architecture

PROBLEM = grid_problem()
QUALITY = PROBLEM.objectives[0].name
HOME = "the run's process"


class EndedError(Exception):
    """A worker ended itself."""


class Crew:
    """Three workers that finish in turn; the first one's results are changed.

    Args:
        change: What becomes of its n-th result.
    """

    capacity = 3

    def __init__(self, change: Callable[[int, float], float]) -> None:
        self.names, self.free = ["a", "b", "c"], [0, 1, 2]
        self.held: list[tuple[int, Job[Evaluate]]] = []
        self.here, self.change = HOME, change
        self.changed = self.at_home = self.done = 0

    def submit(self, job: Job[Evaluate]) -> None:
        self.held.append((self.free.pop(0), job))

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        if timeout_s is not None or not self.held:
            return []
        seat, job = self.held.pop(0)
        self.free.append(seat)
        self.here = self.names[seat]
        outcome = do_here(job, self.judge_wrongly if self.here == "a" else evaluate)
        self.here = HOME
        if isinstance(outcome, Failed) and isinstance(outcome.error, EndedError):
            self.names[seat] += ", replaced"
            return [Lost(job.key, "it ended itself")]
        self.done += 1
        return [outcome]

    def close(self) -> None:
        self.held.clear()

    def judge_wrongly(self, architecture: Architecture) -> Mapping[str, Measurement]:
        found = dict(evaluate(architecture))
        self.changed += 1
        right = found[QUALITY]
        found[QUALITY] = Measurement(self.change(self.changed, right.value), 0.0, right.unit, "", 1)
        return found

    def judge_at_home(self, architecture: Architecture) -> Mapping[str, Measurement]:
        self.at_home += 1
        return evaluate(architecture)

    def end(self) -> None:
        raise EndedError


def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
    return grid_evaluate(PROBLEM, architecture)


def work_of(architecture: Architecture) -> Work[Evaluate]:
    return lambda judge: judge(architecture)


def search_by(
    crew: Crew,
    study: optuna.Study,
    patch: pytest.MonkeyPatch,
    on_trial: Callable[[FrozenTrial], None] = lambda _: None,
    work: Callable[[Architecture], Work[Evaluate]] = work_of,
) -> None:
    patch.setattr(guard, "this_worker", lambda: crew.here)
    patch.setattr(guard, "end_worker", crew.end)
    executor = Persistent(crew, crew.judge_at_home)
    search_with(executor, study, PROBLEM, work, evaluations=40, on_trial=on_trial, sleep=lambda _: None)


@pytest.fixture
def study() -> optuna.Study:
    directions = [o.direction for o in PROBLEM.objectives]
    return optuna.create_study(directions=directions, sampler=RandomSampler(seed=0))


def wrong_ones(study: optuna.Study) -> list[int]:
    right = {
        t.number: evaluate(PROBLEM.space.architecture(t.params))[QUALITY].value
        for t in complete_trials(study)
    }
    return [t.number for t in complete_trials(study) if t.values[0] != right[t.number]]


BREAKS: dict[str, Callable[[int, float], float]] = {
    "from the first": lambda _, value: value + 100,
    "only a little": lambda _, value: value + 0.001,
    "later": lambda count, value: value + 100 * (count > 6),
    "now and then": lambda count, value: value + 100 * (count % 5 == 4),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_worker_that_judges_wrongly_is_ended_and_leaves_nothing_wrong_behind(
    how: str, study: optuna.Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    crew = Crew(BREAKS[how])
    with caplog.at_level(logging.WARNING):
        search_by(crew, study, monkeypatch)
    assert wrong_ones(study) == []
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == 40
    assert guard.broken_workers(study) == {"a"}
    assert (
        "workers found other values than the run's own process and were ended (a)"
        in guard.tell_of_broken(study)[0]
    )
    assert crew.names == ["a, replaced", "b", "c"]
    assert "a evaluated trial" in caplog.text
    assert caplog.text.count("it is ended, and what it evaluated is evaluated again") == 1


def test_without_the_guard_wrong_values_stay(study: optuna.Study) -> None:
    crew = Crew(BREAKS["from the first"])
    search_with(Persistent(crew), study, PROBLEM, work_of, evaluations=40, on_trial=lambda _: None)
    assert len(wrong_ones(study)) == crew.changed > 5


def test_sound_workers_are_left_alone_and_little_is_judged_twice(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(lambda _, value: value)
    search_by(crew, study, monkeypatch)
    assert guard.broken_workers(study) == frozenset()
    assert guard.tell_of_broken(study) == []
    assert crew.names == ["a", "b", "c"]
    assert 3 <= crew.at_home <= 9


def test_what_was_to_be_judged_again_is_when_the_search_goes_on(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_trial: FrozenTrial) -> None:
        if guard.list_trials_to_recheck(study):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_by(Crew(BREAKS["later"]), study, monkeypatch, on_trial=stop)
    number = guard.list_trials_to_recheck(study)[0].number
    assert f"trials {number}, " in guard.tell_of_broken(study)[0]
    search_by(Crew(lambda _, value: value), study, monkeypatch)
    assert wrong_ones(study) == guard.list_trials_to_recheck(study) == []


def test_what_can_not_be_judged_again_keeps_its_value_and_a_device_is_waited_for(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [DeviceUnavailableError("it is away"), ValueError("it is gone")]

    def work(architecture: Architecture) -> Work[Evaluate]:
        def judge(by: Evaluate) -> Mapping[str, Measurement]:
            again = {PROBLEM.space.architecture(t.params).id for t in guard.list_trials_to_recheck(study)}
            if architecture.id in again and failures:
                raise failures.pop(0)
            return by(architecture)

        return judge

    crew = Crew(BREAKS["later"])
    with caplog.at_level(logging.WARNING):
        search_by(crew, study, monkeypatch, work=work)
    assert not failures
    kept = guard.list_trials_to_recheck(study)
    assert len(kept) == 1
    assert f"trial {kept[0].number} can't be evaluated again and keeps its values: it is gone" in caplog.text


def test_who_judged_is_in_the_record(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    search_by(Crew(lambda _, value: value), study, monkeypatch)
    assert {t.user_attrs.get(WORKER) for t in complete_trials(study)} == {"a", "b", "c"}
