"""A job is done to its end: again where its worker died, and here what a worker leaves to be done."""

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
    """An executor that tells of no loss: what was lost is submitted again, up to three times.

    A worker that dies before it has its workplace doesn't count against the job that it was to do.

    Args:
        executor: Does the work.
        home: The workplace of this process, where what workers leave is done; None where they leave nothing.
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
        """Do a whole job in this process, and return what came of it."""
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
        """Return what became of jobs; nothing, also after waiting, where all that came were losses.

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
        """Submit what was lost once more, unless it is what workers die at."""
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
    """Have several things done, and return what came out, in their order.

    Args:
        executor: Has nothing else to do.
        works: The things.
        on_done: Called with a thing's position and value as soon as it is done.

    Raises:
        BaseException: what the first one raised that failed; others may be under way then.
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
