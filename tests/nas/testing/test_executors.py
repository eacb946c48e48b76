from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import pytest

from nas.executors import Done, Executor, Failed, Job, MakeWorkplace, Outcome, Processes, Serial
from nas.testing import Promise, check_executor


def serial(make: MakeWorkplace[int]) -> Executor[int]:
    return Serial(make())


@pytest.mark.parametrize("promise", check_executor.promises(serial), ids=str)
def test_this_process_keeps_the_contract(promise: Promise) -> None:
    promise()


def test_other_processes_keep_the_contract() -> None:
    check_executor(partial(Processes, jobs=2))


@final
class Faulty:
    """Does jobs in this process, with one fault."""

    def __init__(self, fault: str, make: MakeWorkplace[int]) -> None:
        self.fault, self.inner = fault, Serial(make() + (fault == "another workplace"))
        self.capacity = 0 if fault == "no capacity" else 1
        self.told: list[Outcome] = []

    def submit(self, job: Job[int]) -> None:
        if self.fault == "lets errors through":
            self.told.append(Done(job.key, job.work(10)))
        else:
            self.inner.submit(job)

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        outcomes = [*self.told, *self.inner.collect(timeout_s)]
        self.told = outcomes if self.fault == "tells twice" else []
        if self.fault == "believes failures":
            outcomes = [Done(o.key, None) if isinstance(o, Failed) else o for o in outcomes]
        return outcomes

    def close(self) -> None:
        if self.fault == "closes once" and self.capacity == 0:
            raise RuntimeError("closed already")
        self.capacity = 0 if self.fault == "closes once" else self.capacity


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("no capacity", "it takes one job at a time or more"),
        ("another workplace", "each job is done at a workplace"),
        ("lets errors through", "what raises is a failure"),
        ("believes failures", "what raises is a failure"),
        ("tells twice", "without jobs nothing is waited for"),
        ("closes once", "it may be closed twice"),
    ],
)
def test_a_faulty_executor_is_found(fault: str, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_executor(partial(Faulty, fault))
