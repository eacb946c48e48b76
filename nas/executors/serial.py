"""Runs one job after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, final

from nas.executors.executor import Done, Failed, Job, Outcome

W = TypeVar("W")


def do_here(job: Job[W], workplace: W) -> Done | Failed:
    """Run a job in this process. Whatever it raises is its failure, except for Ctrl-C, which is raised here."""
    try:
        return Done(job.key, job.work(workplace))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of a user's code too
        return Failed(job.key, error)


@final
class Serial(Generic[W]):
    """Runs a job when it is submitted.

    Args:
        workplace: The workplace of this process.
    """

    capacity = 1

    def __init__(self, workplace: W) -> None:
        self._workplace = workplace
        self._outcomes: list[Outcome] = []

    def submit(self, job: Job[W]) -> None:
        """Run a job; see :func:`do_here`."""
        self._outcomes.append(do_here(job, self._workplace))

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return the outcomes of the jobs since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Nothing is left to stop."""
