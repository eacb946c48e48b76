"""Jobs are run until they end: once more if a worker died, and in this process what a worker leaves to it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast, final

from nas.errors import WorkerError
from nas.executors.executor import Done, Executor, Failed, Job, Lost, Outcome, Rest
from nas.executors.serial import do_here

logger = logging.getLogger(__name__)

W = TypeVar("W")
T = TypeVar("T")

MAX_RETRIES = 3
"""A job at which a fourth worker dies is what kills them: it needs too much memory, or crashes in native code."""
_MAX_DEAD_AT_BEGIN = 10
"""In a row, without anything coming of another job: no worker can begin. That of one machine are replaced on others."""


@final
class Persistent(Generic[W]):
    """An executor that never reports a lost job: it submits the job again instead, up to three times.

    If a worker dies before it has made its workplace, that doesn't count as an attempt at its job.

    Args:
        executor: Runs the jobs.
        home: The workplace of this process, for the second halves of jobs; None if no job has one.
    """

    def __init__(self, executor: Executor[W], home: W | None = None) -> None:
        self._executor, self._home = executor, home
        self._jobs: dict[int, Job[W]] = {}
        self._losses: Counter[int] = Counter()
        self._dead_at_begin = 0

    @property
    def home(self) -> W:
        """The workplace of this process."""
        assert self._home is not None, "whoever leaves something to be done here has a workplace here"
        return self._home

    @property
    def has_home(self) -> bool:
        """Whether this process has a workplace."""
        return self._home is not None

    def do_here(self, work: Callable[[W], object]) -> Done | Failed:
        """Run a whole job in this process, and return its outcome."""
        outcome = do_here(Job(-1, work), self.home)
        if isinstance(outcome, Done) and isinstance(outcome.value, Rest):
            return do_here(Job(-1, outcome.value.work), self.home)
        return outcome

    @property
    def capacity(self) -> int:
        """How many jobs are worked on at the same time."""
        return self._executor.capacity

    def submit(self, job: Job[W]) -> None:
        """Begin a job."""
        self._jobs[job.key] = job
        self._executor.submit(job)

    def collect(self, timeout_s: float | None) -> Sequence[Done | Failed]:
        """Return outcomes of jobs; none, even after waiting, if all jobs that ended in the meantime were lost.

        Raises:
            WorkerError: workers die again and again before they can begin.
        """
        settled = [self._settle(outcome) for outcome in self._executor.collect(timeout_s)]
        return [outcome for outcome in settled if outcome is not None]

    def close(self) -> None:
        """Stop all work."""
        self._executor.close()

    def _settle(self, outcome: Outcome) -> Done | Failed | None:
        if isinstance(outcome, Lost):
            return self._do_again(outcome)
        key, self._dead_at_begin = outcome.key, 0
        del self._jobs[key]
        self._losses.pop(key, None)
        if isinstance(outcome, Done) and isinstance(outcome.value, Rest):
            return do_here(Job(key, outcome.value.work), self.home)
        return outcome

    def _do_again(self, lost: Lost) -> Failed | None:
        """Submit a lost job once more, unless workers keep dying while they run it."""
        key = lost.key
        self._note_death(lost)
        if self._losses[key] <= MAX_RETRIES:
            logger.warning("a worker died (%s): what it did is done again", lost.why)
            self._executor.submit(self._jobs[key])
            return None
        del self._jobs[key]
        died = self._losses.pop(key)
        return Failed(key, WorkerError(f"{died} workers died at it, the last one with: {lost.why}."))

    def _note_death(self, lost: Lost) -> None:
        if lost.begun:
            self._dead_at_begin = 0
            self._losses[lost.key] += 1
            return
        self._dead_at_begin += 1
        if self._dead_at_begin >= _MAX_DEAD_AT_BEGIN:
            raise WorkerError(
                f"{self._dead_at_begin} workers died one after the other before they could begin, the last one with: "
                f"{lost.why}; see that their machines have the memory for the study's data and network."
            )


def run_all(
    executor: Persistent[W],
    works: Sequence[Callable[[W], T | Rest[W]]],
    on_done: Callable[[int, T], None] = lambda _position, _value: None,
) -> list[T]:
    """Run several jobs, and return their values in the order of the jobs.

    Args:
        executor: Must not have other jobs.
        works: What each job calls.
        on_done: Called with the position and the value of a job as soon as it has ended.

    Raises:
        BaseException: the exception of the first job that failed; other jobs may still run then.
    """
    values: dict[int, T] = {}
    begun = 0
    while len(values) < len(works):
        if begun < len(works) and begun - len(values) < executor.capacity:
            executor.submit(Job(begun, works[begun]))
            begun += 1
            timeout_s: float | None = 0.0
        else:
            timeout_s = None
        for outcome in executor.collect(timeout_s):
            if isinstance(outcome, Failed):
                raise outcome.error
            values[outcome.key] = cast(T, outcome.value)
            on_done(outcome.key, values[outcome.key])
    return [values[position] for position in range(len(works))]
