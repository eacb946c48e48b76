"""One evaluation of an architecture, as a worker does it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar, final

from nas.executors.executor import Done, Failed, Rest, Work
from nas.objective import Measurement
from nas.search import guard
from nas.search.patience import Sleep, check_finite, retry

W = TypeVar("W")


@final
@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluation.

    Args:
        worker: Name of the worker that evaluated.
        seconds: How long that took.
        measurements: Measurements by the names of their objectives, all finite.
    """

    worker: str
    seconds: float
    measurements: dict[str, Measurement]


@final
@dataclass(frozen=True)
class Attempt(Generic[W]):
    """Evaluates an architecture at a worker's workplace, and tries again there after a temporary error.

    A value of a device that is not finite counts as such an error. If the work leaves a second half to the process that
    submitted the job, that half is another attempt, which tries as often.

    Args:
        work: Evaluates.
        of_device: Names of the objectives whose values depend on a device as well as on the architecture.
        name: What the log calls this evaluation.
        sleep: Waits.
        broken: Names of broken workers, which end themselves instead of evaluating.
        worker: Name of the worker that did the first part; "" where this is the first part.
        spent: Seconds that the first part took.
    """

    work: Work[W]
    of_device: frozenset[str]
    name: str
    sleep: Sleep
    broken: frozenset[str] = frozenset()
    worker: str = ""
    spent: float = 0.0

    def __call__(self, workplace: W) -> Evaluated | Rest[W]:
        """Return the measurements, or the second half of the job."""
        if not self.worker and guard.this_worker() in self.broken:
            guard.end_worker()
        return retry(partial(self._evaluate, workplace), self.name, self.sleep)

    def _evaluate(self, workplace: W) -> Evaluated | Rest[W]:
        begin = time.perf_counter()
        found: Mapping[str, Measurement] | Rest[W] = self.work(workplace)  # type: ignore[assignment]
        worker, seconds = self.worker or guard.this_worker(), self.spent + time.perf_counter() - begin
        if isinstance(found, Rest):
            return Rest(replace(self, work=found.work, worker=worker, spent=seconds))
        finite = {
            name: check_finite(name, measurement, of_device=name in self.of_device)
            for name, measurement in found.items()
        }
        return Evaluated(worker, seconds, finite)


def get_evaluated(outcome: Done | Failed) -> Evaluated:
    """Return the result of an attempt.

    Raises:
        BaseException: what it raised, where it failed.
    """
    if isinstance(outcome, Failed):
        raise outcome.error
    return outcome.value  # type: ignore[return-value]
