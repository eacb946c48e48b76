"""An executor whose evaluations do nothing but last, on the wall's clock or on one that skips what is waited for."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, final

from nas.executors import Done, Failed, Job, Outcome
from nas.search.strategies.beside import Make, Take

W = TypeVar("W")
T = TypeVar("T")


class Clock(Protocol):
    """Tells the time of a search, in seconds."""

    def now(self) -> float:
        """Return the time."""

    def wait_until(self, moment: float) -> None:
        """Let time pass."""

    def elsewhere(self, work: Callable[[], T]) -> tuple[T, float]:
        """Do what another core would do meanwhile, and return what came out and how long it took."""


@final
class WallClock:
    """The one on the wall."""

    def now(self) -> float:
        """Return the time."""
        return time.perf_counter()

    def wait_until(self, moment: float) -> None:
        """Sleep."""
        time.sleep(max(0.0, moment - time.perf_counter()))

    def elsewhere(self, work: Callable[[], T]) -> tuple[T, float]:
        """Do it here."""
        begin = time.perf_counter()
        done = work()
        return done, time.perf_counter() - begin


@final
class SkippingClock:
    """A clock on which waiting takes no time in truth.

    Args:
        counts_work: Whether the processor time of the thread that asks and tells passes on it too: so it shows what a
            core of one's own would do, on a machine that is busy with other things.

    Attributes:
        elsewhere_s: Processor time of what other cores would do.
    """

    def __init__(self, *, counts_work: bool) -> None:
        self._counts_work = counts_work
        self.elsewhere_s = 0.0
        self._skipped = 0.0

    def now(self) -> float:
        """Return the time."""
        return self._skipped + (time.thread_time() if self._counts_work else 0.0)

    def wait_until(self, moment: float) -> None:
        """Skip."""
        self._skipped += max(0.0, moment - self.now())

    def elsewhere(self, work: Callable[[], T]) -> tuple[T, float]:
        """Do it, and set the clock back."""
        begin = time.thread_time()
        done = work()
        seconds = time.thread_time() - begin
        self.elsewhere_s += seconds
        if self._counts_work:
            self._skipped -= seconds
        return done, seconds


@final
class Simulated(Generic[W]):
    """Holds jobs for as long as they would take.

    Args:
        clock: Tells the time.
        capacity: How many it holds.
        seconds: Draws how long one takes.
        workplace: Workplace of all workers.
    """

    def __init__(self, clock: Clock, capacity: int, seconds: Callable[[], float], workplace: W) -> None:
        self.capacity = capacity
        self._clock, self._seconds, self._workplace = clock, seconds, workplace
        self._under_way: list[tuple[float, int, Outcome]] = []
        self._order = itertools.count()

    def submit(self, job: Job[W]) -> None:
        """Begin a job."""
        outcome, _ = self._clock.elsewhere(lambda: self._do(job))
        due = self._clock.now() + self._seconds()
        heapq.heappush(self._under_way, (due, next(self._order), outcome))

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return the jobs whose time has come; None waits for the first."""
        if timeout_s is None and self._under_way:
            self._clock.wait_until(self._under_way[0][0])
        outcomes = []
        while self._under_way and self._under_way[0][0] <= self._clock.now():
            outcomes.append(heapq.heappop(self._under_way)[2])
        return outcomes

    def close(self) -> None:
        """Let go of the jobs."""
        self._under_way.clear()

    def _do(self, job: Job[W]) -> Outcome:
        try:
            return Done(job.key, job.work(self._workplace))
        except Exception as error:
            return Failed(job.key, error)


@final
class SimulatedBeside:
    """In place of :class:`nas.search.strategies.beside.Beside`: what is made is put into use when it would be made.

    Args:
        clock: Tells the time.
        seconds: What making takes; None for the processor time that it does take.
    """

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock, self._seconds = clock, seconds
        self._made: tuple[float, Take] | None = None

    def is_free(self) -> bool:
        """Put into use what is made."""
        if self._made is not None and self._made[0] <= self._clock.now():
            self._made[1]()
            self._made = None
        return self._made is None

    def begin(self, make: Make) -> None:
        """Begin the next thing."""
        begin = self._clock.now()
        take, seconds = self._clock.elsewhere(make)
        self._made = begin + (seconds if self._seconds is None else self._seconds), take
        self.is_free()

    def close(self) -> None:
        """Nothing goes on."""
