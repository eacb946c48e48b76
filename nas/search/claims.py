"""Decides before an evaluation whether a trial is evaluated at all, or finished without it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import final

import optuna
from optuna.trial import Trial, TrialState

from nas.checks import failing_as
from nas.errors import StudyError
from nas.search.record.ledger import Ledger
from nas.search.record.storage import DATABASE_ERRORS
from nas.search.record.trials import ARCHITECTURE, REFUSED, REPEATS
from nas.space import Architecture
from nas.strategy import Problem

logger = logging.getLogger(__name__)


@final
class Claims:
    """Decides which trials are evaluated, and finishes the others.

    Args:
        study: The record; holds the sampler.
        problem: Space, objectives and constraints.
        ledger: What the record has, read up to now.
    """

    def __init__(self, study: optuna.Study, problem: Problem, ledger: Ledger) -> None:
        self._study, self._problem, self._ledger = study, problem, ledger

    def claim(self, trial: Trial) -> Architecture | None:
        """Return the architecture to evaluate for a trial; None if the trial was finished without an evaluation."""
        if not self._suggest(trial):
            self._refuse(trial)
            return None
        architecture = self._problem.space.architecture(trial.params)
        return architecture if self._is_to_evaluate(trial, architecture) else None

    def tell(self, trial: Trial, state: TrialState) -> None:
        """Finish a trial without values."""
        with strategy_failures():  # the sampler hears of it too
            self._study.tell(trial, state=state)

    def tell_values(self, trial: Trial, values: Sequence[float]) -> None:
        """Finish a trial with values, and tell Optuna's own samplers how far they exceed the soft limits."""
        limits = self._problem.soft_limits
        for objective, value in zip(self._problem.objectives, values, strict=True):
            if objective.name in limits:
                trial.set_constraint(objective.name, value - limits[objective.name])
        with strategy_failures():  # the sampler hears of it too
            self._study.tell(trial, values)

    def _suggest(self, trial: Trial) -> bool:
        """Ask the sampler for options that the trial lacks; return whether those that it has are of this space."""
        if self._list_foreign(trial):
            return False
        with strategy_failures():
            for choice in self._problem.space.choices:
                trial.suggest_categorical(choice.name, choice.options)
        return True

    def _list_foreign(self, trial: Trial) -> dict[str, object]:
        """Return the queued options that the space doesn't have."""
        queued = trial._fixed_params
        choices = self._problem.space.choices
        return {c.name: queued[c.name] for c in choices if c.name in queued and not c.has(queued[c.name])}

    def _refuse(self, trial: Trial) -> None:
        logger.warning(
            "trial %d was queued with %s, which the space doesn't have: it is failed unpaid; queue options of the "
            "space instead",
            trial.number,
            self._list_foreign(trial),
        )
        trial.set_user_attr(REFUSED, True)
        self.tell(trial, TrialState.FAIL)

    def _is_to_evaluate(self, trial: Trial, architecture: Architecture) -> bool:
        """Whether the architecture is feasible and new; otherwise the trial is finished here."""
        violation = self._problem.infeasibility(self._problem.space.indices([architecture]))[0]
        ledger = self._ledger
        if violation > 0 or architecture.id in ledger.failed | ledger.list_claimed(besides=trial.number):
            self.tell(trial, TrialState.PRUNED)
        elif architecture.id in ledger.known:
            earlier = ledger.known[architecture.id]
            trial.set_user_attr(REPEATS, earlier.number)
            self.tell_values(trial, earlier.values)
        else:
            # From now on other workers' loops see that this architecture is taken.
            trial.set_user_attr(ARCHITECTURE, architecture.id)
            return True
        return False


def strategy_failures() -> contextlib.AbstractContextManager[None]:
    """Within, whatever the sampler or its surrogate raises becomes one sentence; the database's own errors pass."""
    return failing_as(
        StudyError,
        "the study's strategy failed",
        "mend it, or its surrogate, and run the same command again",
        besides=lambda error: isinstance(error, DATABASE_ERRORS),
    )
