"""The search stage: opens the record of the search, checks it, and runs the search loop on it."""

from __future__ import annotations

from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyChangedError
from nas.progress import SEARCH, Progress
from nas.report.trust import TrustResult
from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory
from nas.runner.measuring import calibration
from nas.runner.preparation import Prepared
from nas.runner.problem import make_sampler
from nas.runner.proxy import choose_proxy
from nas.runner.sparing import measure_spared
from nas.runner.workplace import Workplace, make_evaluation_work
from nas.search.forecast import Forecast
from nas.search.guard import list_trials_to_recheck
from nas.search.loop import WorkOf, search_with
from nas.search.models.stand_alone import keep_stand_alone, stand_alone_values
from nas.search.record.credibility import are_credible
from nas.search.record.reference_box import GrowingFront, reference_box
from nas.search.record.trials import (
    ARCHITECTURE,
    ENDED,
    LIMITS,
    complete_trials,
    costs_of,
    is_paid,
    list_paid_trials,
)
from nas.search.stopping import NEVER, Limits, Stopping, forecast_of
from nas.search.warm_start import queue
from nas.strategy import Problem

SUPERNET_DIGEST = "supernet"


def search_architectures(context: RunContext, evaluations: int) -> optuna.Study:
    """Search until ``evaluations`` are spent and return the Optuna study.

    Raises:
        StudyChangedError: the supernet is not the one that earlier trials were evaluated with.
        DamagedFileError: the database or another file is damaged.
    """
    prepared, run, progress = context.prepared, context.run, context.progress
    study = prepared.study
    sampler = make_sampler(study, prepared.problem)
    record = run.open_study(study.name, prepared.problem.objectives, sampler, to_search=True)
    run.check_trials(record, prepared.problem.space, prepared.problem.objectives)
    _check_weights(context, record)
    queue(record, prepared.problem, study.warm_start, progress.say)
    known = calibration(prepared, record)
    choose_proxy(prepared, run, context.weights, progress)
    before = record.user_attrs.get(LIMITS)
    goes_on = len(list_paid_trials(record)) < evaluations
    if goes_on and before is not None and Limits.from_json(before) != Limits(evaluations, study.stopping):
        learn_from_trust(run, record, progress)
    work_of = make_evaluation_work(context.workers.home, record, known)
    run_search_loop(context, record, work_of, evaluations, SEARCH, study.stopping)
    measure_spared(prepared, record, known, progress)
    return record


def learn_from_trust(run: RunDirectory, record: optuna.Study, progress: Progress) -> None:
    """Give a search that goes on the qualities of architectures trained alone, if the trust stage has measured them.

    A search that is complete doesn't get them: the same command would then choose other winners when it is repeated.
    """
    if not run.trust_result.exists():
        return
    result = TrustResult.read(run.trust_result)
    searched = {t.number: (t.user_attrs[ARCHITECTURE], t.values[0]) for t in complete_trials(record)}
    # After the database was moved away, these rows are about other trials.
    rows = [row for row in result.rows if searched.get(row.trial) == (row.id, row.searched)]
    count = keep_stand_alone(record, result.recipe, {row.trial: row.alone for row in rows})
    if stand_alone_values(record):
        progress.say(f"{count} architectures that were {result.how} tell what others would reach so")


def _check_weights(context: RunContext, record: optuna.Study) -> None:
    """Store which weights the trials are evaluated with, or compare.

    Raises:
        StudyChangedError: earlier trials were evaluated with another one.
    """
    used, digest, run = record.user_attrs.get(SUPERNET_DIGEST), context.weights.digest, context.run
    if used is None:
        record.set_user_attr(SUPERNET_DIGEST, digest)
    elif used != digest:
        raise StudyChangedError(
            f"the trials of {run.path} were evaluated with another supernet than the one in {run.supernet}: restore "
            "the old one, or move study.db (or storage.json) away to search again with this one."
        )


def run_search_loop(
    context: RunContext,
    record: optuna.Study,
    work_of: WorkOf[Workplace],
    evaluations: int,
    stage: str,
    stopping: Stopping = NEVER,
) -> None:
    """Run the search loop on ``record`` until it ends, and report progress."""
    problem, progress = context.prepared.problem, context.progress
    done = len(list_paid_trials(record))
    if done >= evaluations and not list_trials_to_recheck(record):
        return
    progress.start(stage, evaluations, done)
    search_with(
        context.workers,
        record,
        problem,
        work_of,
        evaluations=evaluations,
        on_trial=Reporter(record, problem, progress),
        stopping=stopping,
    )
    if len(list_paid_trials(record)) < evaluations:
        progress.say(f"{stage}: {record.user_attrs[ENDED]}")


@final
class Reporter:
    """Tells a listener how a search stands after each of its evaluations.

    Args:
        record: The search's study.
        problem: What is searched.
        progress: Listener that is told.
    """

    def __init__(self, record: optuna.Study, problem: Problem, progress: Progress) -> None:
        self._record, self._objectives, self._progress = record, problem.objectives, progress
        self._front: GrowingFront | None = None

    def __call__(self, trial: FrozenTrial) -> None:
        """Take in a finished trial."""
        if is_paid(trial):
            self._progress.advance(self._note(trial))

    def _note(self, trial: FrozenTrial) -> str:
        if trial.state == TrialState.FAIL:
            return "failed"
        trials = complete_trials(self._record)
        costs = costs_of(self._objectives, trials)
        new = np.array([t.number == trial.number for t in trials], dtype=np.bool_)
        if self._front is None:
            box = reference_box(self._record, self._objectives)
            if box is None:
                return "start-up"
            self._front, new = GrowingFront(box), np.ones(len(trials), dtype=np.bool_)
        for cost in costs[new & are_credible(costs)]:
            self._front.add(cost)
        return f"hypervolume {self._front.hypervolume:.4f}"


def forecast_gain(prepared: Prepared, record: optuna.Study) -> Forecast | None:
    """Return what more evaluations would bring; None when it is too early to tell."""
    return forecast_of(record, prepared.problem.objectives, prepared.study.stopping.horizon)
