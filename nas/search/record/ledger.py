"""The loop's view of the record, which reads every trial until it is finished and then never again."""

from __future__ import annotations

from typing import final

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.search.record.trials import (
    ARCHITECTURE,
    LOST,
    RETRIES,
    has_values,
    is_paid,
    list_forgiven,
    options_of,
)
from nas.space import SearchSpace


@final
class Ledger:
    """A study's trials by what became of them.

    The time that :meth:`read_on` takes depends on how many trials are new, not on how many there are.

    Args:
        study: The record.
        space: What its trials are about.

    Attributes:
        known: Finished trials with values, by architecture.
        failed: Architectures whose evaluation failed.
        running: Trials whose evaluation is in progress, by number.
        forgiven: Numbers of trials whose failure counts for nothing, because the objective was broken.
        lost: Trials that are to be evaluated again, by number: forgiven ones, and those whose device was away, until a
            later trial takes their place.
        paid: How many evaluations were paid for.
    """

    def __init__(self, study: optuna.Study, space: SearchSpace) -> None:
        self._study = study
        self._space = space
        self._unfinished: set[int] = set()
        self._next = 0
        self.known: dict[str, FrozenTrial] = {}
        self.failed: set[str] = set()
        self.forgiven: set[int] = set()
        self.running: dict[int, FrozenTrial] = {}
        self.lost: dict[int, FrozenTrial] = {}
        self._retried: set[int] = set()
        self.paid = 0

    def read_on(self) -> list[FrozenTrial]:
        """Read what is new, and return the trials that were finished meanwhile, oldest first."""
        forgiven_now = list_forgiven(self._study)
        trials = self._study.get_trials(deepcopy=False)
        # First, so that a trial that is read below is known to be forgiven.
        for number in sorted(forgiven_now - self.forgiven):
            self._forgive(trials[number])
        finished = []
        for number in [*sorted(self._unfinished), *range(self._next, len(trials))]:
            trial = trials[number]
            if trial.state.is_finished():
                self._settle(trial)
                finished.append(trial)
            else:
                self._note_unfinished(trial)
        self._next = len(trials)
        return finished

    @property
    def num_tried(self) -> int:
        """How many architectures were evaluated, with or without success."""
        return len(self.known) + len(self.failed)

    def list_claimed(self, besides: int = -1) -> set[str]:
        """Return the architectures that trials evaluate just now, one trial not counted."""
        running = [t.user_attrs for t in self.running.values() if t.number != besides]
        return {attributes[ARCHITECTURE] for attributes in running if ARCHITECTURE in attributes}

    def _note_unfinished(self, trial: FrozenTrial) -> None:
        self._unfinished.add(trial.number)
        self._note_retry(trial)
        if trial.state == TrialState.RUNNING:
            self.running[trial.number] = trial

    def _note_retry(self, trial: FrozenTrial) -> None:
        if RETRIES in trial.user_attrs:
            self._retried.add(trial.user_attrs[RETRIES])
            self.lost.pop(trial.user_attrs[RETRIES], None)

    def _settle(self, trial: FrozenTrial) -> None:
        self._unfinished.discard(trial.number)
        self.running.pop(trial.number, None)
        self._note_retry(trial)
        if trial.state == TrialState.FAIL and (LOST in trial.user_attrs or trial.number in self.forgiven):
            self._lose(trial)
        elif is_paid(trial):
            self.paid += 1
            self._note_result(trial)

    def _lose(self, trial: FrozenTrial) -> None:
        if trial.number not in self._retried and options_of(self._space, trial) is not None:
            self.lost[trial.number] = trial

    def _forgive(self, trial: FrozenTrial) -> None:
        self.forgiven.add(trial.number)
        if trial.number >= self._next or trial.number in self._unfinished:  # it has not been counted
            return
        self.paid -= 1
        options = options_of(self._space, trial)
        if options is not None:
            self.failed.discard(self._space.architecture(options).id)
        self._lose(trial)

    def _note_result(self, trial: FrozenTrial) -> None:
        options = options_of(self._space, trial)
        if options is None:  # failed before it was an architecture
            return
        architecture = self._space.architecture(options).id
        if has_values(trial):
            self.known.setdefault(architecture, trial)
        else:
            self.failed.add(architecture)
