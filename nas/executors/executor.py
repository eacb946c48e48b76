"""The seam between what is to be done and where it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, final

W = TypeVar("W")

Work = Callable[[W], object]
"""Does one thing, given what a worker has at its place, and returns what came out; pickled for another process.

Where something is left that must be done at the place that the job came from, it returns a :class:`Rest`.
"""
MakeWorkplace = Callable[[], W]
"""Makes what a worker has at its place, once per worker."""


@final
@dataclass(frozen=True)
class Job(Generic[W]):
    """One thing to be done.

    Args:
        key: Which one, among those that are not finished; comes back with the outcome.
        work: Does it.
    """

    key: int
    work: Work[W]


@final
@dataclass(frozen=True)
class Rest(Generic[W]):
    """What is left of a job when a worker did its part, to be done where the job came from.

    Args:
        work: Does it, and returns what came out of the job.
    """

    work: Work[W]


@final
@dataclass(frozen=True)
class Done:
    """It is done, and this came out."""

    key: int
    value: object


@final
@dataclass(frozen=True)
class Failed:
    """It can't be done: it raised."""

    key: int
    error: BaseException


@final
@dataclass(frozen=True)
class Lost:
    """Its worker died, which says nothing of it.

    Args:
        key: Key of the job.
        why: How the worker ended.
        begun: Whether the worker had made its workplace, so that it was the job at which it died.
    """

    key: int
    why: str
    begun: bool = True


Outcome = Done | Failed | Lost


class Executor(Protocol[W]):
    """Has jobs done, in this process or in others; asked and told by one process.

    Closed at the end, whatever happened, so that no worker outlives the process that gave it work.
    """

    @property
    def capacity(self) -> int:
        """How many jobs are worked on at the same time, at least 1."""

    def submit(self, job: Job[W]) -> None:
        """Take on a job; called while fewer than ``capacity`` are neither finished nor lost.

        A worker that must make its workplace first gets it during a later :meth:`collect`.

        Raises:
            WorkerError: the job can't be sent to a worker, or no worker can be had.
        """

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return what became of jobs since the last call, each once.

        Args:
            timeout_s: Wait so long for the first; None for as long as it takes. Without jobs there is no waiting.

        Raises:
            NasError: no worker can work, for a reason that is told.
        """

    def close(self) -> None:
        """Stop all work, of which nothing more is told; may be called again."""


MakeExecutor = Callable[[MakeWorkplace[W]], Executor[W]]
"""Makes an executor, given what makes the workplaces of its workers."""
