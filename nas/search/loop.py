"""The search loop: ask, check, evaluate, tell. Resuming is the same call again."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Generic, TypeVar, final

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.checks import failing_as
from nas.errors import (
    DeviceRefusedError,
    DeviceUnavailableError,
    EvaluationError,
    OutOfMemoryError,
    StudyChangedError,
    StudyError,
    one_line,
)
from nas.executors.executor import Done, Failed, Job, Rest, Work
from nas.executors.persistent import Persistent
from nas.executors.serial import Serial
from nas.objective import Measurement
from nas.search import guard
from nas.search.patience import Pauses, Sleep, check_finite, retry
from nas.search.record.ledger import Ledger
from nas.search.record.recorder import together
from nas.search.record.storage import DATABASE_ERRORS
from nas.search.record.trials import (
    ARCHITECTURE,
    ENDED,
    ERROR,
    FORGIVEN,
    LIMITS,
    LOST,
    MEASUREMENTS,
    REFUSED,
    REPEATS,
    RETRIES,
    SECONDS,
    SOFT_LIMITS,
    WORKER,
    architecture_of,
    by_completion,
    forgiven,
    list_paid_trials,
    measure_later,
    options_of,
)
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

_MAX_FAILURES_AT_START = 10


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
    """Evaluate architectures in this process, as :func:`search_with` does by others.

    Args:
        study: Holds the sampler.
        problem: Space, objectives and constraints.
        evaluate: Returns a measurement by objective name.
        evaluations: Finished and failed ones, those of earlier calls included.
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
    """Let an executor evaluate architectures that the study's sampler proposes, until so many are paid for.

    As many as the executor has capacity for are evaluated at the same time, and told in the order in which they end;
    with a capacity of one, each before the next is proposed. No more are paid for than was asked for.

    A trial that an earlier, killed process left running is evaluated again under its own number, so
    the sequence of architectures is the one of an uninterrupted run. Call it from one process at a time.

    - A proposal that exceeds a hard constraint, or of which a count is not finite, is told as PRUNED, unpaid.
    - A proposal that repeats a finished architecture gets the earlier values, unpaid.
    - A trial that another program queued with an unknown option is told as FAIL, unpaid.
    - A proposal that is evaluated just now is told as PRUNED, unpaid.
    - An evaluation that raises, or gives a value that is not finite, is told as FAIL. Where the reason may pass
      (:func:`retry`), it is tried up to three times more before that.
    - An evaluation whose device is away is told as FAIL, unpaid and lost: after a pause, its architecture is
      proposed again, as often as it takes.
    - When nothing but failures came, they are forgiven: not paid, and evaluated again by the next call.
    - An evaluation whose worker died is done again, up to three times (:class:`nas.executors.Persistent`).
    - A worker's result that doesn't fit the others is judged here too; where this process finds another value, the
      worker is ended, and all it judged is judged again (:class:`nas.search.guard.WorkerGuard`).

    Args:
        executor: Has nothing else to do.
        study: Holds the sampler.
        problem: Space, objectives and constraints.
        work_of: Returns what a worker does to evaluate an architecture.
        evaluations: Finished and failed ones, those of earlier calls included.
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
@dataclass(frozen=True)
class _Judged:
    """What came out of an evaluation, which worker judged, and how long it took."""

    by: str
    seconds: float
    measurements: dict[str, Measurement]


@final
@dataclass(frozen=True)
class _Attempt(Generic[W]):
    """Evaluates at a worker's place; what may pass is tried again, also a value of a device that is not finite.

    So is, by itself, what a worker leaves to be done where the job came from.

    Args:
        work: Evaluates.
        of_device: Names of the objectives that tell of the device too.
        what: What the log calls it.
        sleep: Waits.
        broken: Names of workers that end themselves instead.
        by: Which worker did the first part.
        spent: Seconds that this took.
    """

    work: Work[W]
    of_device: frozenset[str]
    what: str
    sleep: Sleep
    broken: frozenset[str] = frozenset()
    by: str = ""
    spent: float = 0.0

    def __call__(self, workplace: W) -> _Judged | Rest[W]:
        if not self.by and guard.this_worker() in self.broken:
            guard.end_worker()
        return retry(partial(self._judge, workplace), self.what, self.sleep)

    def _judge(self, workplace: W) -> _Judged | Rest[W]:
        begin = time.perf_counter()
        found: Mapping[str, Measurement] | Rest[W] = self.work(workplace)  # type: ignore[assignment]
        by, seconds = self.by or guard.this_worker(), self.spent + time.perf_counter() - begin
        if isinstance(found, Rest):
            return Rest(replace(self, work=found.work, by=by, spent=seconds))
        of_device = self.of_device
        finite = {name: check_finite(name, one, of_device=name in of_device) for name, one in found.items()}
        return _Judged(by, seconds, finite)


@final
@dataclass(frozen=True)
class _Evaluation:
    """A trial that is being evaluated, of which architecture, and when its proposal began."""

    trial: Trial
    architecture: Architecture
    begin: float


@final
class _Loop(Generic[W]):
    """A search under way."""

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
        self._under_way: dict[int, _Evaluation | None] = {}  # None for what is judged again
        self._ended: Reason | None = None
        self._limits = limits
        self._ledger = Ledger(study, problem.space)
        self._ending = Ending(study, problem)
        self._news: list[FrozenTrial] = []
        self._has_failed = False
        self._unpaid_in_a_row = 0
        self._sleep, self._pauses = sleep, Pauses(sleep)
        self._away: DeviceUnavailableError | None = None
        self._ending.note(self._ledger.read_on())
        self._forgiven_before = len(self._ledger.forgiven)
        self._left = list(self._ledger.running.values())
        self._beside = Beside()
        self._guard: guard.WorkerGuard | None = None
        self._keep_doubtful: set[int] = set()

    def run(self) -> str:
        """Work until the search ends, and return why."""
        with (
            contextlib.closing(self._beside),
            contextlib.nullcontext() if self._executor.capacity == 1 else one_thread(),
        ):
            return self._run()

    def _run(self) -> str:
        while True:
            begin = time.perf_counter()
            trial, ended = self._next()
            if trial is not None:
                self._process(trial, begin)
                self._settle_finished(0.0)
                self._read_on()
            elif self._under_way:
                self._settle_finished(None)
                self._read_on()
            self._report()
            self._check_start(ended)
            if ended:
                return ended
            self._wait_for_device()

    def _read_on(self) -> None:
        paid = self._ledger.paid
        finished = self._ledger.read_on()
        self._news += finished
        if finished:
            self._ending.note(finished)
        if self._ledger.paid > paid:
            self._unpaid_in_a_row = 0

    def _report(self) -> None:
        news, self._news = self._news, []
        for trial in news:
            self._on_trial(trial)

    def _wait_for_device(self) -> None:
        away, self._away = self._away, None
        if away is not None:
            self._pauses.wait(away)

    def _check_start(self, ended: str) -> None:
        """Give up when nothing but failures came."""
        ledger = self._ledger
        has_failed, self._has_failed = self._has_failed, False
        many = len(ledger.failed) >= _MAX_FAILURES_AT_START or len(ledger.forgiven) > self._forgiven_before
        early = bool(ended and ledger.failed and ledger.paid < self._limits.evaluations)
        if not ledger.known and ((has_failed and many) or early):
            self._give_up()

    def _give_up(self) -> None:
        failed = {t.number for t in list_paid_trials(self._study) if t.state == TrialState.FAIL}
        failed |= forgiven(self._study)
        self._study.set_user_attr(FORGIVEN, sorted(failed))
        last = by_completion([t for t in self._study.get_trials(deepcopy=False) if t.number in failed])[-1]
        raise EvaluationError(
            f"the first {len(failed)} evaluations all failed, the last one with "
            f"{last.user_attrs.get(ERROR, 'no reason')!r}: mend the objective and run the same command again."
        )

    def _next(self) -> tuple[Trial | None, str]:
        """Take a trial; or tell why the search ended; or neither, when what is under way is to be waited for."""
        if len(self._under_way) >= self._executor.capacity:
            return None, ""
        self._retry_lost()
        if self._judge_again():
            return None, ""
        ended = self._ended or self._ending.reason(self._ledger, self._limits, self._unpaid_in_a_row)
        if ended:
            return None, self._end(ended)
        if self._left:
            return Trial(self._study, self._left.pop(0)._trial_id), ""
        if self._is_spoken_for():
            return None, ""
        with _of_sampler():
            self._prepare()
            return self._study.ask(), ""

    def _prepare(self) -> None:
        """Let the sampler do in a thread what takes it long, where evaluations go on meanwhile."""
        sampler = self._study.sampler
        if self._executor.capacity == 1 or not isinstance(sampler, ArchitectureSampler):
            return
        if self._beside.is_free():
            make = sampler.to_make(self._study, self._executor.capacity)
            if make is not None:
                self._beside.begin(make)

    def _retry_lost(self) -> None:
        """Queue once more what was lost."""
        for number, trial in list(self._ledger.lost.items()):
            options = options_of(self._problem.space, trial) or {}
            self._study.enqueue_trial(options, user_attrs={RETRIES: number})
            del self._ledger.lost[number]

    def _judge_again(self) -> bool:
        """Submit what broken workers judged, and return whether something is left of that."""
        if not self._executor.has_home:
            return False
        trials = [t for t in guard.to_judge_again(self._study) if t.number not in self._keep_doubtful]
        for trial in trials:
            key = -1 - trial.number
            if key not in self._under_way and len(self._under_way) < self._executor.capacity:
                architecture = architecture_of(self._problem.space, trial)
                self._under_way[key] = None
                self._executor.submit(Job(key, self._attempt(architecture, trial.number)))
        return bool(trials)

    def _settle_again(self, number: int, outcome: Done | Failed) -> None:
        """Take what another worker found in place of what a broken one did; what devices told holds."""
        try:
            found = _get_judged(outcome).measurements
            told = [(column, o.name) for column, o in enumerate(self._problem.objectives)]
            later = [(column, name, found[name]) for column, name in told if name not in self._of_device]
        except DeviceUnavailableError as error:
            self._away = error
            return
        except Exception as error:  # a user's objective raises anything
            logger.warning("trial %d can't be judged again and keeps its values: %s", number, one_line(error))
            self._keep_doubtful.add(number)
            return
        for column, name, measurement in reversed(later):  # the quality's last: with it all is done
            measure_later(self._study, number, column, name, measurement)
        if self._guard is not None:
            self._guard.read()

    def _is_spoken_for(self) -> bool:
        """Whether what is under way, if none of it is lost, leaves nothing to do."""
        running = len(self._under_way)
        if running == 0:
            return False
        return self._ledger.paid + running >= self._limits.evaluations or self._ending.is_exhausted(
            self._ledger.num_tried + running, self._unpaid_in_a_row
        )

    def _end(self, reason: Reason) -> str:
        """Tell the study, and wait for what is under way, so that the record is at rest afterwards."""
        self._ended = reason
        if self._study.user_attrs.get(ENDED) != reason.sentence:
            logger.log(logging.WARNING if reason.is_early else logging.INFO, "search: %s", reason.sentence)
            self._study.set_user_attr(ENDED, reason.sentence)
        return "" if self._under_way else reason.sentence

    def _process(self, trial: Trial, begin: float) -> None:
        with together(self._study):
            architecture = self._read_claim(trial)
        if architecture is not None:
            self._submit(trial, architecture, begin)
        else:
            self._unpaid_in_a_row += 1

    def _read_claim(self, trial: Trial) -> Architecture | None:
        """Return what a trial is to evaluate; None if it was told without."""
        if not self._suggest(trial):
            self._refuse(trial)
            return None
        architecture = self._problem.space.architecture(trial.params)
        return architecture if self._claim(trial, architecture) else None

    def _suggest(self, trial: Trial) -> bool:
        """Ask for what the trial lacks; options that it has are kept. Return whether these are of this space."""
        if self._foreign(trial):
            return False
        with _of_sampler():
            for choice in self._problem.space.choices:
                trial.suggest_categorical(choice.name, choice.options)
        return True

    def _foreign(self, trial: Trial) -> dict[str, object]:
        queued = trial._fixed_params
        choices = self._problem.space.choices
        return {c.name: queued[c.name] for c in choices if c.name in queued and not c.has(queued[c.name])}

    def _refuse(self, trial: Trial) -> None:
        logger.warning(
            "trial %d was queued with %s, which the space doesn't have: it is failed unpaid; queue options of the "
            "space instead",
            trial.number,
            self._foreign(trial),
        )
        trial.set_user_attr(REFUSED, True)
        self._tell(trial, state=TrialState.FAIL)

    def _claim(self, trial: Trial, architecture: Architecture) -> bool:
        """Whether the trial may be evaluated; if not, tell it without paying."""
        violation = self._problem.infeasibility(self._problem.space.indices([architecture]))[0]
        ledger = self._ledger
        if violation > 0 or architecture.id in ledger.failed | ledger.list_claimed(besides=trial.number):
            self._tell(trial, state=TrialState.PRUNED)
        elif architecture.id in ledger.known:
            earlier = ledger.known[architecture.id]
            trial.set_user_attr(REPEATS, earlier.number)
            self._set_constraints(trial, earlier.values)
            self._tell(trial, earlier.values)
        else:
            trial.set_user_attr(ARCHITECTURE, architecture.id)
            return True
        return False

    def _tell(
        self, trial: Trial, values: Sequence[float] | None = None, *, state: TrialState | None = None
    ) -> None:
        with _of_sampler():  # which is told too
            self._study.tell(trial, values, state=state)

    def _set_constraints(self, trial: Trial, values: Sequence[float]) -> None:
        """Tell samplers of Optuna's how far the values exceed the soft limits."""
        for objective, value in zip(self._problem.objectives, values, strict=True):
            if objective.name in self._problem.soft_limits:
                trial.set_constraint(objective.name, value - self._problem.soft_limits[objective.name])

    def _submit(self, trial: Trial, architecture: Architecture, begin: float) -> None:
        self._under_way[trial.number] = _Evaluation(trial, architecture, begin)
        self._executor.submit(Job(trial.number, self._attempt(architecture, trial.number)))

    def _attempt(self, architecture: Architecture, number: int) -> _Attempt[W]:
        broken = guard.broken_workers(self._study)
        work, what = self._work_of(architecture), f"trial {number}"
        return _Attempt(work, self._of_device, what, self._sleep, broken)

    def _settle_finished(self, timeout_s: float | None) -> None:
        outcomes = self._executor.collect(timeout_s)
        with together(self._study):
            for outcome in outcomes:
                evaluation = self._under_way.pop(outcome.key)
                if evaluation is None:
                    self._settle_again(-1 - outcome.key, outcome)
                else:
                    self._settle(evaluation, outcome)

    def _settle(self, evaluation: _Evaluation, outcome: Done | Failed) -> None:
        trial, begin = evaluation.trial, evaluation.begin
        try:
            judged = self._choose_believed(evaluation, _get_judged(outcome))
            found = judged.measurements
            values = [found[o.name].value for o in self._problem.objectives]
            stored = {name: measurement.to_json() for name, measurement in found.items()}
            json.dumps(stored)  # what a storage can't hold is a failure too
        except (OutOfMemoryError, StudyChangedError, DeviceRefusedError, KeyboardInterrupt):
            raise  # nor would any other architecture fit, or be measured on another device, or on this one
        except DeviceUnavailableError as error:
            self._lose(trial, error)
            return
        except BaseException as error:  # whatever a user's objective raises fails this trial alone
            trial.set_user_attr(SECONDS, time.perf_counter() - begin)
            self._has_failed = True
            failure = f"{type(error).__name__}: {error}"
            logger.warning("trial %d failed: %s", trial.number, failure)
            logger.debug("trial %d failed", trial.number, exc_info=True)
            trial.set_user_attr(ERROR, failure)
            self._tell(trial, state=TrialState.FAIL)
            return
        self._pauses.end()
        trial.set_user_attr(SECONDS, time.perf_counter() - begin)
        self._set_constraints(trial, values)
        trial.set_user_attr(MEASUREMENTS, stored)
        if judged.by != guard.this_worker():
            trial.set_user_attr(WORKER, judged.by)
        self._tell(trial, values)
        if self._guard is not None:
            self._guard.note(evaluation.architecture, values[0])

    def _choose_believed(self, evaluation: _Evaluation, judged: _Judged) -> _Judged:
        """Return what a worker found, or what this process does where that doesn't fit and is wrong."""
        quality, by = self._problem.objectives[0].name, judged.by
        if not self._executor.has_home or by == guard.this_worker() or quality not in judged.measurements:
            return judged
        if self._guard is None:
            self._guard = guard.WorkerGuard(self._study, self._problem)
        broken, told = guard.broken_workers(self._study), judged.measurements[quality]
        if by not in broken and not self._guard.doubts(by, evaluation.architecture, told, judged.seconds):
            return judged
        here = _get_judged(
            self._executor.do_here(self._attempt(evaluation.architecture, evaluation.trial.number))
        )
        right = here.measurements[quality]
        if not guard.differ(told, right):
            return judged
        if by not in broken:
            logger.warning(
                "%s judged trial %d with %s %g, and this process with %g: it is ended, and what it judged is judged "
                "again; look after that machine",
                by,
                evaluation.trial.number,
                quality,
                told.value,
                right.value,
            )
            guard.condemn(self._study, by)
            self._guard.read()
        return here

    @cached_property
    def _of_device(self) -> frozenset[str]:
        """Names of the objectives that tell of the device too: not the quality, and not counted."""
        space = self._problem.space
        counted = self._problem.count(space.indices([space.smallest()]))
        return frozenset(o.name for o in self._problem.objectives[1:] if o.name not in counted)

    def _lose(self, trial: Trial, error: DeviceUnavailableError) -> None:
        logger.warning("trial %d is lost: its architecture is proposed again", trial.number)
        trial.set_user_attr(LOST, True)
        self._tell(trial, state=TrialState.FAIL)
        self._away = error


def _get_judged(outcome: Done | Failed) -> _Judged:
    if isinstance(outcome, Failed):
        raise outcome.error
    return outcome.value  # type: ignore[return-value]


def _of_sampler() -> contextlib.AbstractContextManager[None]:
    """Tell in a sentence what the sampler or its surrogate raises; the record's own errors pass."""
    return failing_as(
        StudyError,
        "the study's strategy failed",
        "mend it, or its surrogate, and run the same command again",
        besides=lambda error: isinstance(error, DATABASE_ERRORS),
    )
