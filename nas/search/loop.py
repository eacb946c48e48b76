"""The search loop: ask, check, evaluate, tell. Resuming is the same call again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import EvaluationError
from nas.objective import Measurement
from nas.protocols import Problem
from nas.search.record import (
    ARCHITECTURE,
    ERROR,
    MEASUREMENTS,
    REPEATS,
    SECONDS,
    complete_trials,
    distributions,
    paid_trials,
)
from nas.space import Architecture

logger = logging.getLogger(__name__)

Evaluate = Callable[[Architecture], Mapping[str, Measurement]]

_MAX_FAILURES_AT_START = 10
_MAX_UNPAID_IN_A_ROW = 500


def search(
    study: optuna.Study,
    problem: Problem,
    evaluate: Evaluate,
    *,
    evaluations: int,
    on_trial: Callable[[FrozenTrial], None],
) -> None:
    """Evaluate architectures that the study's sampler proposes, until ``evaluations`` are paid for.

    A trial that an earlier, killed process left running is evaluated again under its own number, so
    the sequence of architectures is the one of an uninterrupted run. Call it from one process at a
    time.

    - A proposal that exceeds a hard constraint is told as PRUNED, unpaid.
    - A proposal that repeats a finished architecture gets the earlier values, unpaid.
    - An evaluation that raises, or gives a value that is not finite, is told as FAIL.

    Args:
        study: Holds the sampler.
        problem: Space, objectives and constraints.
        evaluate: Returns a measurement by objective name.
        evaluations: Finished and failed ones, those of earlier calls included.
        on_trial: Called after every trial.

    Raises:
        EvaluationError: the first ten evaluations all failed.
    """
    known = {t.user_attrs[ARCHITECTURE]: t for t in complete_trials(study)}
    failed = {t.user_attrs.get(ARCHITECTURE) for t in paid_trials(study) if t.state == TrialState.FAIL}
    paid = len(paid_trials(study))
    left_running = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
    cardinality = problem.space.cardinality()
    unpaid_in_a_row = 0
    while paid < evaluations:
        if len(known) + len(failed) >= cardinality:
            logger.info("all %d architectures of the space are evaluated", cardinality)
            break
        if unpaid_in_a_row >= _MAX_UNPAID_IN_A_ROW + len(known):
            logger.warning(
                "the sampler proposed nothing new %d times in a row: the search stops after %d evaluations",
                unpaid_in_a_row,
                paid,
            )
            break
        begin = time.perf_counter()
        trial = _next_trial(study, problem, left_running)
        architecture = problem.space.architecture(trial.params)
        unpaid_in_a_row += 1
        if problem.violation(problem.space.indices([architecture]))[0] > 0 or architecture.id in failed:
            study.tell(trial, state=TrialState.PRUNED)
        elif architecture.id in known:
            earlier = known[architecture.id]
            trial.set_user_attr(REPEATS, earlier.number)
            study.tell(trial, earlier.values)
        else:
            trial.set_user_attr(ARCHITECTURE, architecture.id)
            finished = _evaluate(study, problem, trial, architecture, evaluate, begin)
            paid, unpaid_in_a_row = paid + 1, 0
            if finished.state == TrialState.COMPLETE:
                known[architecture.id] = finished
            else:
                failed.add(architecture.id)
                _stop_if_hopeless(known, len(failed), finished)
        on_trial(study.get_trials(deepcopy=False)[trial.number])


def _next_trial(study: optuna.Study, problem: Problem, left_running: list[FrozenTrial]) -> Trial:
    wanted = distributions(problem.space)
    if not left_running:
        return study.ask(wanted)
    trial = Trial(study, left_running.pop(0)._trial_id)
    for choice in problem.space.choices:
        trial.suggest_categorical(choice.name, choice.options)  # known ones are kept, missing ones asked
    return trial


def _evaluate(
    study: optuna.Study,
    problem: Problem,
    trial: Trial,
    architecture: Architecture,
    evaluate: Evaluate,
    begin: float,
) -> FrozenTrial:
    try:
        measurements = evaluate(architecture)
        values = [measurements[o.name].checked(o.name).value for o in problem.objectives]
    except Exception as error:  # whatever a user's objective raises fails this trial alone
        trial.set_user_attr(SECONDS, time.perf_counter() - begin)
        reason = f"{type(error).__name__}: {error}"
        logger.warning("trial %d failed: %s", trial.number, reason)
        logger.debug("trial %d failed", trial.number, exc_info=True)
        trial.set_user_attr(ERROR, reason)
        return study.tell(trial, state=TrialState.FAIL)
    trial.set_user_attr(SECONDS, time.perf_counter() - begin)
    trial.set_user_attr(MEASUREMENTS, {name: m.to_json() for name, m in measurements.items()})
    return study.tell(trial, values)


def _stop_if_hopeless(known: Mapping[str, FrozenTrial], num_failed: int, last: FrozenTrial) -> None:
    if not known and num_failed >= _MAX_FAILURES_AT_START:
        raise EvaluationError(
            f"the first {num_failed} evaluations all failed, the last one with "
            f"{last.user_attrs[ERROR]!r}: mend the objective and run the same command again."
        )
