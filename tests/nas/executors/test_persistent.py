"""What becomes of jobs whose workers die, told by an executor that loses what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from nas.errors import WorkerError
from nas.executors import Done, Failed, Job, Lost, Outcome, Persistent, Rest, run_all


class Losing:
    """Does jobs one by one at a workplace, which is 10, but for those that are lost.

    Args:
        fate: What becomes of a submission instead, by key and number of the submission of this key.
        capacity: How many jobs it takes.
    """

    def __init__(self, fate: Callable[[int, int], Lost | None], capacity: int = 1) -> None:
        self.fate, self.capacity = fate, capacity
        self.jobs: list[Job[int]] = []
        self.submitted: list[int] = []

    def submit(self, job: Job[int]) -> None:
        self.jobs.append(job)
        self.submitted.append(job.key)
        assert len(self.jobs) <= self.capacity

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        if timeout_s is not None or not self.jobs:
            return []
        job = self.jobs.pop()
        try:
            return [self.fate(job.key, self.submitted.count(job.key)) or Done(job.key, job.work(10))]
        except ZeroDivisionError as error:
            return [Failed(job.key, error)]

    def close(self) -> None:
        self.jobs.clear()


def outcome_of(losing: Losing, key: int = 0) -> Done | Failed:
    persistent = Persistent(losing)
    persistent.submit(Job(key, lambda workplace: workplace + key))
    told: list[Done | Failed] = []
    while not told:
        told += persistent.collect(None)
    return told[0]


def test_what_is_lost_is_done_again_up_to_three_times() -> None:
    losing = Losing(lambda key, times: Lost(key, "by chance") if times < 4 else None)
    assert outcome_of(losing, 5) == Done(5, 15)
    assert losing.submitted == [5] * 4


def test_what_a_fourth_worker_dies_at_is_a_failure_of_its_own() -> None:
    told = outcome_of(Losing(lambda key, _: Lost(key, "by signal 9")))
    assert isinstance(told, Failed)
    assert str(told.error) == "4 workers died at it, the last one with: by signal 9."


def test_deaths_before_there_is_a_workplace_are_none_of_the_job_s() -> None:
    losing = Losing(lambda key, times: Lost(key, "by chance", begun=False) if times < 10 else None)
    assert outcome_of(losing) == Done(0, 10)


def test_where_no_worker_can_begin_it_is_said() -> None:
    with pytest.raises(WorkerError, match=r"^10 workers died one after the other before they could begin"):
        outcome_of(Losing(lambda key, _: Lost(key, "with exit code 1", begun=False)))


def test_workers_that_begin_in_between_are_no_sign_that_none_can() -> None:
    """Twelve die before they begin, and after each fourth a job is done."""
    losing = Losing(lambda key, times: Lost(key, "by chance", begun=False) if times <= 4 else None)
    assert run_all(Persistent(losing), [lambda workplace: workplace] * 3) == [10] * 3
    assert len(losing.submitted) == 15


def test_what_is_left_of_a_job_is_done_here_once() -> None:
    works = [lambda workplace: Rest(lambda home: (workplace, home))]
    assert run_all(Persistent(Losing(lambda *_: None), home=7), works) == [(10, 7)]


@pytest.mark.parametrize("capacity", [1, 2, 9])
def test_values_come_in_the_order_of_the_works_and_are_told_as_they_come(capacity: int) -> None:
    told: list[tuple[int, int]] = []
    works = [lambda workplace, number=number: workplace + number for number in range(5)]
    losing = Losing(lambda key, times: Lost(key, "by chance") if key == 1 and times == 1 else None, capacity)
    found = run_all(Persistent(losing), works, lambda *done: told.append(done))
    assert found == [10, 11, 12, 13, 14]
    assert sorted(told) == list(enumerate(found))
    assert sorted(losing.submitted) == [0, 1, 1, 2, 3, 4]


def test_the_first_failure_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_all(Persistent(Losing(lambda *_: None)), [lambda workplace: workplace // 0])
