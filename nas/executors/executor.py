"""What an executor is: it takes jobs, runs them somewhere, and reports how each one ended."""

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
    """One piece of work for a worker.

    Args:
        key: Identifies the job among those that are not finished; the outcome has the same key.
        work: Called with the worker's workplace.
    """

    key: int
    work: Work[W]


@final
@dataclass(frozen=True)
class Rest(Generic[W]):
    """The second half of a job, which the process that submitted it must run, once a worker has run the first half.

    Args:
        work: Called with the workplace of that process; returns the value of the whole job.
    """

    work: Work[W]


@final
@dataclass(frozen=True)
class Done:
    """The job returned a value."""

    key: int
    value: object


@final
@dataclass(frozen=True)
class Failed:
    """The job raised an exception."""

    key: int
    error: BaseException


@final
@dataclass(frozen=True)
class Lost:
    """The job's worker died, so that nothing is known about the job itself.

    Args:
        key: Key of the job.
        why: How the worker ended.
        begun: Whether the worker had made its workplace; if so, it died while it ran the job.
    """

    key: int
    why: str
    begun: bool = True


Outcome = Done | Failed | Lost


class Executor(Protocol[W]):
    """Runs jobs, in this process or in others. One process alone submits them and collects the outcomes.

    It must be closed at the end, also after an error, so that no worker outlives that process.
    """

    @property
    def capacity(self) -> int:
        """How many jobs run at the same time, at least 1."""

    def submit(self, job: Job[W]) -> None:
        """Accept a job. Must only be called while fewer than ``capacity`` jobs are unfinished.

        If the worker must make its workplace first, it gets the job during a later call of :meth:`collect`.

        Raises:
            WorkerError: the job can't be sent to a worker, or no worker can be had.
        """

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return the outcomes of jobs that ended since the last call; each outcome is returned once.

        Args:
            timeout_s: How long to wait for the first outcome; None waits without limit. Without jobs there is no wait.

        Raises:
            NasError: no worker can run jobs; the message says why.
        """

    def close(self) -> None:
        """Stop all jobs, without outcomes for them; calling it again does nothing."""


MakeExecutor = Callable[[MakeWorkplace[W]], Executor[W]]
"""Makes an executor, given what makes the workplaces of its workers."""
