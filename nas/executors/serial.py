"""One job after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, final

from nas.executors.executor import Done, Failed, Job, Outcome

W = TypeVar("W")


def do_here(job: Job[W], workplace: W) -> Done | Failed:
    """Do a job in this process. Ctrl-C gets through, whatever else is raised is the job's failure."""
    try:
        return Done(job.key, job.work(workplace))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of a user's code too
        return Failed(job.key, error)


@final
class Serial(Generic[W]):
    """Does a job when it is submitted.

    Args:
        workplace: This process's own.
    """

    capacity = 1

    def __init__(self, workplace: W) -> None:
        self._workplace = workplace
        self._outcomes: list[Outcome] = []

    def submit(self, job: Job[W]) -> None:
        """Do a job; see :func:`do_here`."""
        self._outcomes.append(do_here(job, self._workplace))

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return what became of jobs since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Nothing is left to stop."""
