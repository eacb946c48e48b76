"""Evaluates again what broken workers have evaluated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar, final

import optuna

from nas.errors import DeviceUnavailableError, one_line
from nas.executors.executor import Done, Failed, Job
from nas.executors.persistent import Persistent
from nas.search import guard
from nas.search.attempt import Attempt, Evaluated, get_evaluated
from nas.search.record.trials import architecture_of, measure_later
from nas.space import Architecture
from nas.strategy import Problem

logger = logging.getLogger(__name__)

W = TypeVar("W")


@final
class Rechecks(Generic[W]):
    """Compares workers' results with those of this process; the trials of broken workers are evaluated again.

    If this process has no workplace it can't evaluate, so nothing is compared.

    Args:
        executor: Evaluates.
        study: The record.
        problem: Space, objectives and constraints.
        make_attempt: Returns what evaluates an architecture for the trial of that number.
        of_device: Names of the objectives whose values depend on a device as well as on the architecture.
    """

    def __init__(
        self,
        executor: Persistent[W],
        study: optuna.Study,
        problem: Problem,
        make_attempt: Callable[[Architecture, int], Attempt[W]],
        of_device: frozenset[str],
    ) -> None:
        self._executor, self._study, self._problem = executor, study, problem
        self._make_attempt, self._of_device = make_attempt, of_device
        self._guard: guard.WorkerGuard | None = (
            None  # made with a worker's first result: it reads the whole record
        )
        self._under_way: set[int] = set()
        self._kept: set[int] = set()

    @property
    def num_under_way(self) -> int:
        """How many trials are evaluated again just now."""
        return len(self._under_way)

    def submit(self, free: int) -> bool:
        """Submit at most ``free`` trials of broken workers; return whether any still waits or is being evaluated."""
        if not self._executor.has_home:
            return False
        trials = [t for t in guard.list_trials_to_recheck(self._study) if t.number not in self._kept]
        waiting = [trial for trial in trials if trial.number not in self._under_way]
        for trial in waiting[:free]:
            architecture = architecture_of(self._problem.space, trial)
            self._under_way.add(trial.number)
            self._executor.submit(Job(_to_key(trial.number), self._make_attempt(architecture, trial.number)))
        return bool(trials)

    def owns(self, outcome: Done | Failed) -> bool:
        """Whether an outcome is of a trial that was evaluated again."""
        return outcome.key < 0

    def store_outcome(self, outcome: Done | Failed) -> None:
        """Replace what a broken worker found by the second evaluation; values of devices stay as they are.

        Raises:
            DeviceUnavailableError: the device is away; the trial is submitted again later.
        """
        number = _to_key(outcome.key)
        self._under_way.discard(number)
        names = [objective.name for objective in self._problem.objectives]
        try:
            found = get_evaluated(outcome).measurements
            later = [(at, name, found[name]) for at, name in enumerate(names) if name not in self._of_device]
        except DeviceUnavailableError:
            raise
        except Exception as error:  # a user's objective raises anything
            logger.warning(
                "trial %d can't be evaluated again and keeps its values: %s", number, one_line(error)
            )
            self._kept.add(number)
            return
        # The quality's comes last, because with it the trial counts as done: a process that is killed before
        # that evaluates it once more.
        for column, name, measurement in reversed(later):
            measure_later(self._study, number, column, name, measurement)
        if self._guard is not None:
            self._guard.read()

    def note(self, architecture: Architecture, quality: float) -> None:
        """Add a result that is believed, for later comparisons."""
        if self._guard is not None:
            self._guard.note(architecture, quality)

    def choose_believed(self, architecture: Architecture, number: int, evaluated: Evaluated) -> Evaluated:
        """Return a worker's result, or this process's own if the worker's was doubtful and turned out to be wrong.

        Args:
            architecture: What was evaluated.
            number: Number of its trial.
            evaluated: What the worker found.
        """
        quality, worker = self._problem.objectives[0].name, evaluated.worker
        is_own = not self._executor.has_home or worker == guard.this_worker()
        if is_own or quality not in evaluated.measurements:
            return evaluated
        if self._guard is None:
            self._guard = guard.WorkerGuard(self._study, self._problem)
        told = evaluated.measurements[quality]
        is_broken = worker in guard.broken_workers(self._study)
        if not is_broken and not self._guard.doubts(worker, architecture, told, evaluated.seconds):
            return evaluated
        here = get_evaluated(self._executor.do_here(self._make_attempt(architecture, number)))
        right = here.measurements[quality]
        if not guard.differ(told, right):
            return evaluated
        if not is_broken:
            logger.warning(
                "%s evaluated trial %d with %s %g, and this process with %g: it is ended, and what it evaluated is "
                "evaluated again; look after that machine",
                worker,
                number,
                quality,
                told.value,
                right.value,
            )
            guard.condemn(self._study, worker)
            self._guard.read()
        return here


def _to_key(number: int) -> int:
    """Return the key of the job that evaluates a trial again, or the trial's number of such a key.

    The search's own jobs have their trials' numbers, so these are below 0.
    """
    return -1 - number
