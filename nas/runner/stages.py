"""Searching: the record is opened, checked, and filled."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyChangedError
from nas.protocols import Progress
from nas.runner.directory import RunDirectory
from nas.runner.measuring import calibration
from nas.runner.preparation import Prepared
from nas.runner.proxy import choose_proxy, on_proxy
from nas.runner.weights import Judge, Weights
from nas.search.loop import search
from nas.search.record import REPEATS, complete_trials, costs_of, paid_trials, reference_box
from nas.search.storage import open_study

SUPERNET_DIGEST = "supernet"


def search_architectures(
    prepared: Prepared, run: RunDirectory, weights: Weights, evaluations: int, progress: Progress
) -> optuna.Study:
    """Search until ``evaluations`` are spent and return the Optuna study.

    Raises:
        StudyChangedError: the supernet is not the one that earlier trials were judged with.
    """
    study = prepared.study
    sampler = study.strategy.sampler(prepared.problem, study.seed)
    record = open_study(run.database, study.name, prepared.problem.objectives, sampler)
    used = record.user_attrs.get(SUPERNET_DIGEST)
    if used is None:
        record.set_user_attr(SUPERNET_DIGEST, weights.digest)
    elif used != weights.digest:
        raise StudyChangedError(
            f"the trials in {run.database} were judged with another supernet than the one in {run.supernet}: "
            "move study.db away to search again with this supernet, or restore the old one."
        )
    known = calibration(prepared, record)
    choose_proxy(prepared, run, weights, known, progress)
    judge = weights.judge(on_proxy(prepared, run), record, known)
    spend(prepared, record, judge, evaluations, "search", progress)
    return record


def spend(
    prepared: Prepared,
    record: optuna.Study,
    judge: Judge,
    evaluations: int,
    stage: str,
    progress: Progress,
) -> None:
    """Run the search loop on ``record`` until ``evaluations`` are spent, and tell how it stands."""
    done = len(paid_trials(record))
    if done >= evaluations:
        return
    progress.start(stage, evaluations, done)
    objectives = prepared.problem.objectives

    def on_trial(trial: FrozenTrial) -> None:
        if trial.state == TrialState.PRUNED or REPEATS in trial.user_attrs:
            return
        box = reference_box(record, objectives)
        note = "start-up"
        if box is not None:
            note = f"hypervolume {box.hypervolume(costs_of(objectives, complete_trials(record))):.4f}"
        progress.advance("failed" if trial.state == TrialState.FAIL else note)

    search(record, prepared.problem, judge, evaluations=evaluations, on_trial=on_trial)
