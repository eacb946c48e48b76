"""Ends a search whose first evaluations all fail, because then the objective is broken, not the architectures."""

from __future__ import annotations

from typing import final

import optuna
from optuna.trial import TrialState

from nas.errors import EvaluationError
from nas.search.record.ledger import Ledger
from nas.search.record.trials import ERROR, FORGIVEN, by_completion, list_forgiven, list_paid_trials
from nas.search.stopping import Limits

_MAX_FAILURES = 10
"""Chosen. A broken objective costs so many evaluations before the user hears of it; with much fewer a space in which
most architectures can't be evaluated, for instance because a device has too little memory, would never be searched."""


@final
class StartCheck:
    """Checks that not all evaluations fail.

    Args:
        study: The record.
        ledger: What the record has, read up to now.
        limits: The search's.
    """

    def __init__(self, study: optuna.Study, ledger: Ledger, limits: Limits) -> None:
        self._study, self._ledger, self._limits = study, ledger, limits
        self._forgiven_before = len(ledger.forgiven)

    def check(self, has_failed: bool, ended: str) -> None:
        """End the search if all evaluations have failed so far.

        Args:
            has_failed: Whether an evaluation has failed since the last call.
            ended: Why the search ended; "" where it goes on.

        Raises:
            EvaluationError: the first ten evaluations all failed, or all of a search that ended early.
        """
        ledger = self._ledger
        many = len(ledger.failed) >= _MAX_FAILURES or len(ledger.forgiven) > self._forgiven_before
        early = bool(ended and ledger.failed and ledger.paid < self._limits.evaluations)
        if not ledger.known and ((has_failed and many) or early):
            self._give_up()

    def _give_up(self) -> None:
        """Forgive all failures, so that the next call evaluates these architectures again, and say what went wrong."""
        failed = {t.number for t in list_paid_trials(self._study) if t.state == TrialState.FAIL}
        failed |= list_forgiven(self._study)
        self._study.set_user_attr(FORGIVEN, sorted(failed))
        last = by_completion([t for t in self._study.get_trials(deepcopy=False) if t.number in failed])[-1]
        raise EvaluationError(
            f"the first {len(failed)} evaluations all failed, the last one with "
            f"{last.user_attrs.get(ERROR, 'no reason')!r}: mend the objective and run the same command again."
        )
