"""Finishes trials after their evaluations: with values, as failed, or as lost."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, final

from optuna.trial import Trial, TrialState

from nas.errors import (
    DeviceRefusedError,
    DeviceUnavailableError,
    OutOfMemoryError,
    RunDirectoryError,
    StudyChangedError,
    kind_and_line,
)
from nas.executors.executor import Done, Failed
from nas.objective import Objective
from nas.search import guard
from nas.search.attempt import get_evaluated
from nas.search.claims import Claims
from nas.search.patience import Pauses, is_exhaustion
from nas.search.rechecks import Rechecks
from nas.search.record.trials import ERROR, LOST, MEASUREMENTS, SECONDS, WORKER
from nas.space import Architecture

logger = logging.getLogger(__name__)

W = TypeVar("W")


@final
@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is in progress.

    Args:
        trial: Trial that it belongs to.
        architecture: What is evaluated.
        begin: When the proposal of the architecture began, which is part of a trial's time.
    """

    trial: Trial
    architecture: Architecture
    begin: float


@final
class Endings(Generic[W]):
    """Finishes trials after their evaluations, and remembers what the search must react to.

    Args:
        objectives: In the order of a trial's values.
        claims: Finishes trials.
        rechecks: Checks results of workers by a second evaluation.
        pauses: Waits for a device that can't be reached.
    """

    def __init__(
        self, objectives: Sequence[Objective], claims: Claims, rechecks: Rechecks[W], pauses: Pauses
    ) -> None:
        self._objectives, self._claims, self._rechecks, self._pauses = objectives, claims, rechecks, pauses
        self._has_failed = False
        self._away: DeviceUnavailableError | None = None

    def take_failed(self) -> bool:
        """Return whether an evaluation has failed since the last call."""
        has_failed, self._has_failed = self._has_failed, False
        return has_failed

    def wait_for_device(self) -> None:
        """Wait, if a device could not be reached since the last call."""
        away, self._away = self._away, None
        if away is not None:
            self._pauses.wait(away)

    def store_recheck(self, outcome: Done | Failed) -> None:
        """Store the second evaluation of a broken worker's trial."""
        try:
            self._rechecks.store_outcome(outcome)
        except DeviceUnavailableError as error:
            self._away = error

    def finish(self, evaluation: Evaluation, outcome: Done | Failed) -> None:
        """Finish the trial of an evaluation that has ended."""
        try:
            evaluated = self._rechecks.choose_believed(
                evaluation.architecture, evaluation.trial.number, get_evaluated(outcome)
            )
            values = [evaluated.measurements[o.name].value for o in self._objectives]
            stored = {name: measurement.to_json() for name, measurement in evaluated.measurements.items()}
            json.dumps(stored)  # what a storage can't hold is a failure too
        except (
            OutOfMemoryError,
            RunDirectoryError,
            StudyChangedError,
            DeviceRefusedError,
            KeyboardInterrupt,
        ):
            raise  # nor would any other architecture fit, or be measured on another device, or on this one
        except DeviceUnavailableError as error:
            self._lose(evaluation.trial, error)
        except BaseException as error:  # whatever a user's objective raises fails this trial alone
            if is_exhaustion(error):
                raise RunDirectoryError(
                    f"trial {evaluation.trial.number} can't be evaluated now ({kind_and_line(error)}): free space, "
                    "or allow more open files, and run the same command again, which goes on with it."
                ) from error
            self._fail(evaluation, error)
        else:
            self._pauses.end()
            self._complete(evaluation, evaluated.worker, values, stored)

    def _complete(
        self, evaluation: Evaluation, worker: str, values: Sequence[float], stored: Mapping[str, object]
    ) -> None:
        trial = evaluation.trial
        trial.set_user_attr(SECONDS, time.perf_counter() - evaluation.begin)
        trial.set_user_attr(MEASUREMENTS, stored)
        if worker != guard.this_worker():
            trial.set_user_attr(WORKER, worker)
        self._claims.tell_values(trial, values)
        self._rechecks.note(evaluation.architecture, values[0])

    def _fail(self, evaluation: Evaluation, error: BaseException) -> None:
        trial = evaluation.trial
        trial.set_user_attr(SECONDS, time.perf_counter() - evaluation.begin)
        self._has_failed = True
        failure = f"{type(error).__name__}: {error}"
        logger.warning("trial %d failed: %s", trial.number, failure)
        logger.debug("trial %d failed", trial.number, exc_info=True)
        trial.set_user_attr(ERROR, failure)
        self._claims.tell(trial, TrialState.FAIL)

    def _lose(self, trial: Trial, error: DeviceUnavailableError) -> None:
        logger.warning("trial %d is lost: its architecture is proposed again", trial.number)
        trial.set_user_attr(LOST, True)
        self._claims.tell(trial, TrialState.FAIL)
        self._away = error
