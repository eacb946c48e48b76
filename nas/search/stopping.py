"""When a search ends: evaluations spent, time over, plateau reached, or nothing left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nas.checks import check_integers, check_numbers
from nas.errors import StudyError
from nas.objective import Objective
from nas.search.forecast import Forecast, forecast
from nas.search.models.proposals import MAX_LISTED
from nas.search.record.credibility import credible
from nas.search.record.ledger import Ledger
from nas.search.record.reference_box import ReferenceBox, reference_box
from nas.search.record.trials import (
    NOTHING_LEFT,
    complete_trials,
    costs_of,
    has_values,
    is_paid,
    list_forgiven,
    wall_seconds,
)
from nas.strategy import Problem

_MAX_UNPAID_IN_A_ROW = 500
"""Chosen, for Optuna's samplers, which repeat themselves more often the more they know: the number of architectures
that were tried is added. With a tenth of it searches of small spaces would end early; a proposal takes milliseconds."""
_UNPAID_BEFORE_COUNTING = 50
"""Chosen: a space seems to be exhausted then, and only then its architectures are counted, which may take seconds."""
_NOTHING_LEFT_IN_A_ROW = 10
"""Chosen: a sampler of ours that finds nothing left searched at random each time, so ten misses are no accident."""
_EVALUATIONS_PER_CHECK = 10
"""A forecast takes longer than a proposal. At fixed numbers of evaluations, so that a resumed search ends where one
that was never interrupted does."""
_TRIALS_FOR_PACE = 50
"""Chosen: an evaluation now may take longer than one at the beginning did, and single ones vary."""


@final
@dataclass(frozen=True)
class Stopping:
    """When to stop before all evaluations are done; never by default.

    Args:
        minutes: How long to search, over all attempts; what several workers do at the same time counts once.
        plateau: Stop when ``horizon`` more evaluations are not expected to raise the hypervolume by this share,
            not even at the upper end of the forecast: 0.001 for 0.1 %.
        horizon: Evaluations to look ahead.

    Raises:
        StudyError: a value is out of range.
    """

    minutes: float | None = None
    plateau: float | None = None
    horizon: int = 100

    def __post_init__(self) -> None:
        check_numbers(self, *(n for n in ("minutes", "plateau") if getattr(self, n) is not None))
        check_integers(self, "horizon")
        if self.minutes is not None and not self.minutes > 0:
            raise StudyError(f"a search can't stop after {self.minutes} minutes: give more than 0.")
        if self.plateau is not None and not 0 < self.plateau < 1:
            raise StudyError(
                f"plateau is {self.plateau}: give a share of the hypervolume between 0 and 1, such as 0.001."
            )
        if self.horizon < 1:
            raise StudyError(f"horizon is {self.horizon}: look at least 1 evaluation ahead.")


@final
@dataclass(frozen=True)
class Limits:
    """Everything that may end a search, as it is stored with the study.

    Args:
        evaluations: Finished and failed ones.
        stopping: What may end it earlier.
    """

    evaluations: int
    stopping: Stopping

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Limits:
        """Undo :meth:`to_json`."""
        return cls(stored["evaluations"], Stopping(**stored["stopping"]))


NEVER = Stopping()


@final
@dataclass(frozen=True)
class Reason:
    """Why a search ends.

    Args:
        sentence: For people to read.
        is_early: Whether evaluations and architectures are left, and only the strategy finds none.
    """

    sentence: str
    is_early: bool = False


@final
class Ending:
    """Decides whether a search ends, and says why.

    Args:
        study: The record.
        problem: What is searched.
    """

    def __init__(self, study: optuna.Study, problem: Problem) -> None:
        self._study, self._problem = study, problem
        self._cardinality = problem.space.cardinality()
        self._num_feasible: int | None = None
        self._nothing_left_in_a_row = 0
        self._was_short_before = False
        self._evaluated: list[FrozenTrial] = []
        self._has_box = False
        self._num_paid = 0
        self._num_to_consider = self._num_considered = 0
        self._began = time.monotonic()
        self._seconds_before: float | None = None

    def note(self, finished: Sequence[FrozenTrial]) -> None:
        """Take note of finished trials. After the first call, which is for earlier ones, the sampler is asked anew."""
        unpaid = list_forgiven(self._study) if finished else ()
        for trial in finished:
            if is_paid(trial) and trial.number not in unpaid:
                self._note_paid(trial)
        if self._seconds_before is None:
            self._seconds_before = wall_seconds(finished)
            self._was_short_before = sum(not is_paid(t) for t in finished) >= _NOTHING_LEFT_IN_A_ROW
        else:
            self._note_nothing_left(finished)
        if not self._has_box:  # stored with the study, for reports
            self._has_box = reference_box(self._study, self._problem.objectives) is not None

    def reason(self, ledger: Ledger, limits: Limits, unpaid_in_a_row: int) -> Reason | None:
        """Return why the search ends; None while it goes on."""
        stopping = limits.stopping
        if ledger.paid >= limits.evaluations:
            return Reason(f"{limits.evaluations} evaluations are spent")
        if self.is_exhausted(ledger.num_tried, unpaid_in_a_row) and not ledger.list_claimed():
            return Reason(self._exhaustion(ledger.num_tried))
        if unpaid_in_a_row >= _MAX_UNPAID_IN_A_ROW + ledger.num_tried:
            return Reason(f"the sampler proposed nothing new {unpaid_in_a_row} times in a row", is_early=True)
        if stopping.minutes is not None and self._seconds() >= 60 * stopping.minutes:
            return Reason(f"{stopping.minutes:g} minutes of searching are over")
        if stopping.plateau is not None and self._num_to_consider > self._num_considered:
            self._num_considered = self._num_to_consider
            return self._plateau(stopping.plateau, stopping.horizon)
        return None

    def is_exhausted(self, num_tried: int, unpaid_in_a_row: int) -> bool:
        """Whether all architectures were evaluated, or all that the sampler finds.

        Those that meet the constraints are counted when a small space seems to have no more.
        """
        if num_tried >= self._cardinality:
            return True
        nothing_left = self._nothing_left_in_a_row >= _NOTHING_LEFT_IN_A_ROW
        seems_so = nothing_left or self._was_short_before or unpaid_in_a_row >= _UNPAID_BEFORE_COUNTING
        # Once: a space doesn't change, and to list it may take seconds.
        if self._num_feasible is None and seems_so:
            self._num_feasible = count_feasible(self._problem)
        return nothing_left or (self._num_feasible is not None and num_tried >= self._num_feasible)

    def _exhaustion(self, num_tried: int) -> str:
        if num_tried >= self._cardinality:
            return f"all {num_tried} architectures of the space are evaluated"
        if self._num_feasible is not None and num_tried >= self._num_feasible:
            return f"all {num_tried} architectures that meet the constraints are evaluated"
        return f"after {num_tried} architectures the sampler finds nothing left to propose that meets the constraints"

    def _note_paid(self, trial: FrozenTrial) -> None:
        """Take note of a paid trial. A plateau is looked for after every tenth, also when a killed search goes on."""
        self._num_paid += 1
        if has_values(trial):
            self._evaluated.append(trial)
        if self._num_paid % _EVALUATIONS_PER_CHECK == 0:
            self._num_to_consider = len(self._evaluated)

    def _note_nothing_left(self, finished: Sequence[FrozenTrial]) -> None:
        for trial in finished:
            queued = "fixed_params" in trial.system_attrs  # then others may be queued as well
            nothing_left = NOTHING_LEFT in trial.system_attrs and not (queued or is_paid(trial))
            self._nothing_left_in_a_row = self._nothing_left_in_a_row + 1 if nothing_left else 0

    def _seconds(self) -> float:
        return (self._seconds_before or 0.0) + time.monotonic() - self._began

    def _plateau(self, share: float, horizon: int) -> Reason | None:
        considered = self._evaluated[: self._num_considered]
        if len(considered) < horizon:  # no looking farther ahead than back
            return None
        expected = _forecast_of(considered, self._problem.objectives, horizon)
        if expected is None or expected.high >= share:
            return None
        return Reason(f"the hypervolume has reached a plateau: {expected}")


def count_feasible(problem: Problem) -> int | None:
    """Return how many architectures meet the constraints; None when the space is too large to look at all."""
    space = problem.space
    if space.num_combinations > MAX_LISTED:
        return None
    rows = space.combinations(np.arange(space.num_combinations))
    different = np.unique(space.canonical(rows), axis=0)
    return int((problem.infeasibility(different) <= 0).sum())


def pace(trials: Sequence[FrozenTrial]) -> float:
    """Return the seconds per evaluation of the latest trials, all workers together."""
    latest = trials[-_TRIALS_FOR_PACE:]
    return wall_seconds(latest) / max(len(latest), 1)


def forecast_of(study: optuna.Study, objectives: Sequence[Objective], evaluations: int) -> Forecast | None:
    """Return what more evaluations of a study would bring; None when it is too early to tell."""
    return _forecast_of(complete_trials(study), objectives, evaluations)


def _forecast_of(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective], evaluations: int
) -> Forecast | None:
    if not trials:
        return None
    costs = credible(costs_of(objectives, trials))
    # The box of all of them: in the study's own, of its first ten, whatever lies beyond these adds nothing.
    history = ReferenceBox.around(costs).history(costs)
    return forecast(history, evaluations=evaluations, seconds_each=pace(trials))
