"""A job whose worker died is done again, so who waits for it sees its value or its own failure."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast, final

from nas.errors import WorkerError
from nas.executors.executor import Done, Executor, Failed, Job, Lost, Outcome

logger = logging.getLogger(__name__)

W = TypeVar("W")
T = TypeVar("T")

_MAX_RETRIES = 3
"""A job at which a fourth worker dies is what kills them: it needs too much memory, or crashes in native code."""


@final
class Persistent(Generic[W]):
    """An executor that tells of no loss: what was lost is submitted again, up to three times.

    Args:
        executor: Does the work.
    """

    def __init__(self, executor: Executor[W]) -> None:
        self._executor = executor
        self._jobs: dict[int, Job[W]] = {}
        self._losses: Counter[int] = Counter()

    @property
    def capacity(self) -> int:
        """How many jobs are worked on at the same time."""
        return self._executor.capacity

    def submit(self, job: Job[W]) -> None:
        """Begin a job."""
        self._jobs[job.key] = job
        self._executor.submit(job)

    def finished(self, timeout_s: float | None) -> Sequence[Done | Failed]:
        """Return what became of jobs; nothing, also after waiting, where all that came were losses."""
        settled = [self._settled(outcome) for outcome in self._executor.finished(timeout_s)]
        return [outcome for outcome in settled if outcome is not None]

    def close(self) -> None:
        """Stop all work."""
        self._executor.close()

    def _settled(self, outcome: Outcome) -> Done | Failed | None:
        key = outcome.key
        if not isinstance(outcome, Lost):
            del self._jobs[key]
            self._losses.pop(key, None)
            return outcome
        self._losses[key] += 1
        if self._losses[key] <= _MAX_RETRIES:
            logger.warning("a worker died (%s): what it did is done again", outcome.why)
            self._executor.submit(self._jobs[key])
            return None
        del self._jobs[key]
        died = self._losses.pop(key)
        return Failed(key, WorkerError(f"{died} workers died at it, the last one with: {outcome.why}."))


def all_done(
    executor: Persistent[W],
    works: Sequence[Callable[[W], T]],
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
        for outcome in executor.finished(timeout_s):
            if isinstance(outcome, Failed):
                raise outcome.error
            values[outcome.key] = cast(T, outcome.value)
            on_done(outcome.key, values[outcome.key])
    return [values[position] for position in range(len(works))]
