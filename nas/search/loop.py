"""The search loop: ask, check, evaluate, tell. Resuming is the same call again."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Generic, TypeVar, final

import optuna
from optuna.trial import FrozenTrial, Trial

from nas.executors.executor import Job, Work
from nas.executors.persistent import Persistent
from nas.executors.serial import Serial
from nas.objective import Measurement
from nas.search import guard
from nas.search.attempt import Attempt
from nas.search.claims import Claims, strategy_failures
from nas.search.endings import Endings, Evaluation
from nas.search.patience import Pauses, Sleep
from nas.search.rechecks import Rechecks
from nas.search.record.ledger import Ledger
from nas.search.record.recorder import write_together
from nas.search.record.trials import ENDED, LIMITS, RETRIES, SOFT_LIMITS, options_of
from nas.search.start import StartCheck
from nas.search.stopping import NEVER, Ending, Limits, Reason, Stopping
from nas.search.strategies.architecture_sampler import ArchitectureSampler, one_thread
from nas.search.strategies.beside import Beside
from nas.space import Architecture
from nas.strategy import Problem

logger = logging.getLogger(__name__)

W = TypeVar("W")
Evaluate = Callable[[Architecture], Mapping[str, Measurement]]
WorkOf = Callable[[Architecture], Work[W]]
"""Returns what a worker does to evaluate an architecture: to return its measurements by objective name."""


def search(
    study: optuna.Study,
    problem: Problem,
    evaluate: Evaluate,
    *,
    evaluations: int,
    on_trial: Callable[[FrozenTrial], None],
    stopping: Stopping = NEVER,
    sleep: Sleep = time.sleep,
) -> str:
    """Evaluate architectures in this process, as :func:`search_with` does with an executor.

    Args:
        study: The record; holds the sampler.
        problem: Space, objectives and constraints.
        evaluate: Returns a measurement by objective name.
        evaluations: How many to pay for, finished and failed ones, those of earlier calls included.
        on_trial: Called after every trial.
        stopping: What may end the search earlier.
        sleep: Waits, for a device that is away.
    """
    executor = Persistent(Serial(evaluate))
    return search_with(
        executor,
        study,
        problem,
        _bind,
        evaluations=evaluations,
        on_trial=on_trial,
        stopping=stopping,
        sleep=sleep,
    )


def search_with(
    executor: Persistent[W],
    study: optuna.Study,
    problem: Problem,
    work_of: WorkOf[W],
    *,
    evaluations: int,
    on_trial: Callable[[FrozenTrial], None],
    stopping: Stopping = NEVER,
    sleep: Sleep = time.sleep,
) -> str:
    """Let an executor evaluate architectures that the study's sampler proposes, until the search ends.

    As many architectures are evaluated at the same time as the executor has capacity for, and their trials are
    finished in the order in which the evaluations end. With a capacity of one, each evaluation ends before the next
    architecture is proposed. No more evaluations are paid for than were asked for.

    A trial that an earlier, killed process left running is evaluated again under its own number, so
    the sequence of architectures is the one of an uninterrupted run. Call it from one process at a time.

    What a trial comes to:

    - A proposal that exceeds a hard constraint, or of which a count is not finite, is PRUNED, unpaid.
    - A proposal that repeats a finished architecture gets the earlier values, unpaid.
    - A trial that another program queued with an unknown option is a FAIL, unpaid.
    - A proposal that is evaluated just now is PRUNED, unpaid.
    - An evaluation that raises, or gives a value that is not finite, is a FAIL. Where the reason may pass
      (:func:`nas.search.patience.retry`), it is tried up to three times more before that.
    - An evaluation whose device is away is a FAIL, unpaid and lost: after a pause, its architecture is
      proposed again, as often as it takes.
    - When nothing but failures came, they are forgiven: not paid, and evaluated again by the next call.
    - An evaluation whose worker died is done again, up to three times (:class:`nas.executors.Persistent`).
    - A worker's result that doesn't fit the others is checked by an evaluation in this process. Where that gives
      another value, the worker is ended, and all that it evaluated is evaluated again
      (:class:`nas.search.rechecks.Rechecks`).

    Args:
        executor: Must not have other jobs.
        study: The record; holds the sampler.
        problem: Space, objectives and constraints.
        work_of: Returns what a worker does to evaluate an architecture.
        evaluations: How many to pay for, finished and failed ones, those of earlier calls included.
        on_trial: Called after every trial.
        stopping: What may end the search earlier.
        sleep: Waits, for a device that is away.

    Returns:
        Why the search ended, as a sentence; also stored with the study.

    Raises:
        EvaluationError: the first ten evaluations all failed, or all of a search that ended early.
    """
    limits = Limits(evaluations, stopping)
    study.set_user_attr(LIMITS, limits.to_json())
    study.set_user_attr(SOFT_LIMITS, dict(problem.soft_limits))
    study.set_user_attr(ENDED, None)
    return _Loop(executor, study, problem, work_of, on_trial, limits, sleep).run()


def _bind(architecture: Architecture) -> Work[Evaluate]:
    return partial(_call, architecture)


def _call(architecture: Architecture, evaluate: Evaluate) -> Mapping[str, Measurement]:
    return evaluate(architecture)


@final
class _Loop(Generic[W]):
    """A search in progress."""

    def __init__(
        self,
        executor: Persistent[W],
        study: optuna.Study,
        problem: Problem,
        work_of: WorkOf[W],
        on_trial: Callable[[FrozenTrial], None],
        limits: Limits,
        sleep: Sleep,
    ) -> None:
        self._study, self._problem = study, problem
        self._executor, self._work_of, self._on_trial = executor, work_of, on_trial
        self._limits, self._sleep = limits, sleep
        self._of_device = _list_of_device(problem)
        self._ledger = Ledger(study, problem.space)
        self._ending = Ending(study, problem)
        self._ending.note(self._ledger.read_on())
        self._claims = Claims(study, problem, self._ledger)
        self._start = StartCheck(study, self._ledger, limits)
        self._rechecks = Rechecks(executor, study, problem, self._make_attempt, self._of_device)
        self._endings = Endings(problem.objectives, self._claims, self._rechecks, Pauses(sleep))
        self._left = list(self._ledger.running.values())
        self._beside = Beside()
        self._under_way: dict[int, Evaluation] = {}
        self._ended: Reason | None = None
        self._finished: list[FrozenTrial] = []  # not reported yet
        self._unpaid_in_a_row = 0

    def run(self) -> str:
        """Run until the search ends, and return why it ended."""
        # Where several evaluate at once, a sampler that computes with every core takes them from the evaluations.
        threads = contextlib.nullcontext() if self._executor.capacity == 1 else one_thread()
        with contextlib.closing(self._beside), threads:
            ended = ""
            while not ended:
                ended = self._take_step()
            return ended

    def _take_step(self) -> str:
        """Begin one evaluation or wait for one; return why the search ended, or "" if it goes on."""
        begin = time.perf_counter()
        trial, ended = self._next()
        if trial is not None:
            self._process(trial, begin)
            self._collect(timeout_s=0.0)
        elif self._num_under_way:
            self._collect(timeout_s=None)
        self._report()
        self._start.check(self._endings.take_failed(), ended)
        if not ended:
            self._endings.wait_for_device()
        return ended

    @property
    def _num_under_way(self) -> int:
        return len(self._under_way) + self._rechecks.num_under_way

    def _read_on(self) -> None:
        paid = self._ledger.paid
        finished = self._ledger.read_on()
        self._finished += finished
        if finished:
            self._ending.note(finished)
        if self._ledger.paid > paid:
            self._unpaid_in_a_row = 0

    def _report(self) -> None:
        finished, self._finished = self._finished, []
        for trial in finished:
            self._on_trial(trial)

    def _next(self) -> tuple[Trial | None, str]:
        """Return a trial to evaluate, or why the search ended, or neither if an evaluation must be waited for."""
        free = self._executor.capacity - self._num_under_way
        if free <= 0:
            return None, ""
        self._retry_lost()
        if self._rechecks.submit(free):
            return None, ""
        ended = self._ended or self._ending.reason(self._ledger, self._limits, self._unpaid_in_a_row)
        if ended:
            return None, self._end(ended)
        if self._left:
            return Trial(self._study, self._left.pop(0)._trial_id), ""
        if self._is_spoken_for():
            return None, ""
        with strategy_failures():
            self._prepare()
            return self._study.ask(), ""

    def _prepare(self) -> None:
        """Let the sampler compute its next proposals in a thread while evaluations go on."""
        sampler = self._study.sampler
        if self._executor.capacity == 1 or not isinstance(sampler, ArchitectureSampler):
            return
        if self._beside.is_free():
            make = sampler.to_make(self._study, self._executor.capacity)
            if make is not None:
                self._beside.begin(make)

    def _retry_lost(self) -> None:
        """Queue the architectures of lost trials again."""
        for number, trial in list(self._ledger.lost.items()):
            options = options_of(self._problem.space, trial) or {}
            self._study.enqueue_trial(options, user_attrs={RETRIES: number})
            del self._ledger.lost[number]

    def _is_spoken_for(self) -> bool:
        """Whether the evaluations in progress are the last ones, provided that none is lost."""
        running = self._num_under_way
        if running == 0:
            return False
        return self._ledger.paid + running >= self._limits.evaluations or self._ending.is_exhausted(
            self._ledger.num_tried + running, self._unpaid_in_a_row
        )

    def _end(self, reason: Reason) -> str:
        """Store why the search ends, and return it once no evaluation is in progress and the record is complete."""
        self._ended = reason
        if self._study.user_attrs.get(ENDED) != reason.sentence:
            logger.log(logging.WARNING if reason.is_early else logging.INFO, "search: %s", reason.sentence)
            self._study.set_user_attr(ENDED, reason.sentence)
        return "" if self._num_under_way else reason.sentence

    def _process(self, trial: Trial, begin: float) -> None:
        with write_together(self._study):
            architecture = self._claims.claim(trial)
        if architecture is None:
            self._unpaid_in_a_row += 1
            return
        self._under_way[trial.number] = Evaluation(trial, architecture, begin)
        self._executor.submit(Job(trial.number, self._make_attempt(architecture, trial.number)))

    def _make_attempt(self, architecture: Architecture, number: int) -> Attempt[W]:
        broken = guard.broken_workers(self._study)
        work, name = self._work_of(architecture), f"trial {number}"
        return Attempt(work, self._of_device, name, self._sleep, broken)

    def _collect(self, timeout_s: float | None) -> None:
        """Finish the trials whose evaluations ended, and read what is new in the record."""
        outcomes = self._executor.collect(timeout_s)
        with write_together(self._study):
            for outcome in outcomes:
                if self._rechecks.owns(outcome):
                    self._endings.store_recheck(outcome)
                else:
                    self._endings.finish(self._under_way.pop(outcome.key), outcome)
        self._read_on()


def _list_of_device(problem: Problem) -> frozenset[str]:
    """Return the names of the objectives whose values depend on a device: not the quality, and nothing counted."""
    space = problem.space
    counted = problem.count(space.indices([space.smallest()]))
    return frozenset(o.name for o in problem.objectives[1:] if o.name not in counted)
