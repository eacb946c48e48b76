"""What holds wherever work is done."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import jobs
import pytest

from nas.errors import WorkerError
from nas.executors import (
    Done,
    Executor,
    Failed,
    Job,
    MakeWorkplace,
    Outcome,
    Persistent,
    Processes,
    Serial,
    Work,
    run_all,
)


def serial(make: MakeWorkplace[int]) -> Executor[int]:
    return Serial(make())


@pytest.fixture(params=[serial, partial(Processes, jobs=2)], ids=["serial", "processes"], scope="module")
def executor(request: pytest.FixtureRequest) -> Iterator[Executor[int]]:
    with closing(request.param(jobs.make_ten)) as made:
        yield made


def outcome_of(executor: Executor[int], work: Work[int]) -> Outcome:
    executor.submit(Job(5, work))
    outcomes = executor.collect(None)
    assert len(outcomes) == 1
    assert outcomes[0].key == 5
    return outcomes[0]


def test_a_value_comes_back_made_at_the_workplace(executor: Executor[int]) -> None:
    assert outcome_of(executor, partial(jobs.add, 3)) == Done(5, 13)


def test_as_many_as_there_is_capacity_for_come_back_each_once(executor: Executor[int]) -> None:
    for key in range(executor.capacity):
        executor.submit(Job(key, partial(jobs.add, key)))
    found: list[Outcome] = []
    while len(found) < executor.capacity:
        found += executor.collect(None)
    assert sorted(found, key=lambda o: o.key) == [Done(key, 10 + key) for key in range(executor.capacity)]


def test_nothing_to_wait_for_is_not_waited_for(executor: Executor[int]) -> None:
    assert executor.collect(None) == executor.collect(0.0) == []


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (jobs.divide, "ZeroDivisionError: division by zero"),
        (jobs.stub, "StubbornError: 7 was an accident"),
        (jobs.leave, "SystemExit: 3"),
    ],
)
def test_what_a_job_raises_is_its_failure(executor: Executor[int], work: Work[int], told: str) -> None:
    outcome = outcome_of(executor, work)
    assert isinstance(outcome, Failed)
    assert f"{type(outcome.error).__name__}: {outcome.error}" == told


def test_what_a_worker_leaves_is_done_where_the_job_came_from(executor: Executor[int]) -> None:
    persistent = Persistent(executor, home=7)
    assert run_all(persistent, [partial(jobs.half_done, 3), partial(jobs.add, 1)]) == [317, 11]
    with pytest.raises(ZeroDivisionError):
        run_all(persistent, [jobs.half_done_badly])


def test_what_is_logged_is_logged_here(executor: Executor[int], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        outcome_of(executor, jobs.warn)
    assert ("nas.far_away", logging.WARNING, "it is 10") in caplog.record_tuples


def test_what_can_be_sent_and_not_received_is_a_failure_of_its_job(executor: Executor[int]) -> None:
    outcome = outcome_of(executor, jobs.not_received)
    if isinstance(executor, Serial):
        assert isinstance(outcome, Done)
        return
    assert isinstance(outcome, Failed)
    assert "what came out of a job can't be received (EOFError: it is at home)" in str(outcome.error)
    assert outcome_of(executor, partial(jobs.add, 1)) == Done(5, 11)


def test_a_log_that_is_wrong_fails_no_job(executor: Executor[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        logging.getLogger("nas.far_away"), "disabled", True
    )  # pytest's own handler raises here
    assert outcome_of(executor, jobs.warn_badly) == Done(5, 10)


def test_it_can_be_closed_again() -> None:
    for made in (serial(jobs.make_ten), Processes(jobs.make_ten, 1)):
        made.close()
        made.close()


def test_work_that_has_no_name_is_refused_before_a_process_begins() -> None:
    made = Processes(jobs.make_ten, 2)
    with pytest.raises(WorkerError, match="what a worker is to do can't be sent to another process"):
        made.submit(Job(0, lambda workplace: workplace))
    with pytest.raises(WorkerError, match="what workers begin with can't be sent"):
        Processes(lambda: 10, 2)
