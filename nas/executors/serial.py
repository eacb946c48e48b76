"""One job after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, final

from nas.executors.executor import Done, Failed, Job, Outcome

W = TypeVar("W")


@final
class Serial(Generic[W]):
    """Does a job when it is submitted.

    Args:
        workplace: Of this process.
    """

    capacity = 1

    def __init__(self, workplace: W) -> None:
        self._workplace = workplace
        self._outcomes: list[Outcome] = []

    def submit(self, job: Job[W]) -> None:
        """Do a job. Ctrl-C gets through, whatever else is raised is the job's failure."""
        try:
            self._outcomes.append(Done(job.key, job.work(self._workplace)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit of a user's code too
            self._outcomes.append(Failed(job.key, error))

    def finished(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return what became of jobs since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Nothing is left to stop."""
