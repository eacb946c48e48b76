"""A run's Optuna study, read as it grows and never written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final
from urllib.parse import quote

import numpy as np
import optuna
import sqlalchemy
from numpy.typing import NDArray
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas import pareto
from nas.choices import Option
from nas.objective import Measurement, Objective, excess_over
from nas.runner.directory import RunDirectory
from nas.search.models.quality import SurrogateQuality, refit_quality, surrogate_quality
from nas.search.record.credibility import are_credible
from nas.search.record.reference_box import GrowingFront, ReferenceBox, read_box
from nas.search.record.storage import Location
from nas.search.record.trials import (
    ARCHITECTURE,
    by_completion,
    costs_of,
    has_values,
    is_paid,
    list_forgiven,
    measurements_of,
    predictions_of,
    soft_limits,
)
from nas.space import FloatArray, SearchSpace

NO_CHOICES = SearchSpace(())
"""The space of a run that isn't prepared, which has no trials."""


@final
@dataclass(frozen=True)
class TrialRow:
    """An evaluated architecture, for people and programs to read.

    Args:
        number: Number of the trial.
        architecture: Its id.
        values: By objective, in the study's order.
        choices: By name.
    """

    number: int
    architecture: str
    values: Mapping[str, Measurement]
    choices: Mapping[str, Option]


@final
class Record:
    """The evaluated trials of a run, in the order in which they were found finished.

    Only what is new is read at each refresh, over a connection that can't write, so that the search
    isn't held up. Not for more than one thread at a time.

    Args:
        directory: The run directory; need not be there yet.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._study: optuna.Study | None = None
        self.space = NO_CHOICES
        self._seen: set[int] = set()
        self._growing: GrowingFront | None = None
        self._costs: FloatArray = np.zeros((0, 0))
        self._believed: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.objectives: tuple[Objective, ...] = ()
        self.rows: list[TrialRow] = []
        self._failed: set[int] = set()
        self.failed = 0
        self.quality: list[SurrogateQuality] = []
        self.refits: list[tuple[str, list[SurrogateQuality]]] = []
        self._predicted: list[FrozenTrial] = []
        self.front: list[int] = []
        self.hypervolume: list[float] = []

    def refresh(self) -> bool:
        """Read what is new, and return whether all there is could be read."""
        if not self._is_open():
            return not self._directory.has_trials()
        assert self._study is not None
        try:
            new = [t for t in self._study.get_trials(deepcopy=False) if self._is_news(t)]
            box = None if self._growing is not None else read_box(self._study)
            limits, unpaid = soft_limits(self._study), list_forgiven(self._study)
        except (sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError):
            return False  # the writer has it for itself this moment; the next refresh reads it
        self._take(by_completion(new), limits)
        self.failed = len(self._failed - unpaid)
        self._measure(box)
        return True

    def _is_news(self, trial: FrozenTrial) -> bool:
        return trial.number not in self._seen and trial.state.is_finished()

    def _take(self, trials: list[FrozenTrial], limits: Mapping[str, float]) -> None:
        self._seen |= {trial.number for trial in trials}
        paid = [trial for trial in trials if is_paid(trial)]
        self._failed |= {trial.number for trial in paid if trial.state == TrialState.FAIL}
        complete = [trial for trial in paid if has_values(trial)]
        if not complete:
            return
        before = len(self.rows)
        self.rows += _rows(self.space, self.objectives, complete)
        self._predicted += [trial for trial in complete if predictions_of(trial)]
        self.quality = surrogate_quality(self.objectives, self._predicted)
        self.refits = refit_quality(self.objectives, self._predicted)
        costs = costs_of(self.objectives, complete)
        self._costs = np.concatenate([self._costs, costs]) if before else costs
        earlier, self._believed = self._believed, are_credible(self._costs)
        if (self._believed[:before] != earlier).any():
            self._change_of_mind()
            before = 0
        members = self.front if before else []
        candidates = np.array([*members, *(before + np.flatnonzero(self._believed[before:]))], dtype=np.int64)
        excess = excess_over(limits, self.objectives, self._costs[candidates])
        self.front = candidates[pareto.find_constrained_front(self._costs[candidates], excess)].tolist()

    def _change_of_mind(self) -> None:
        """Forget the hypervolume that values had which turn out too good to be true, or lacked which don't."""
        self.hypervolume = []
        if self._growing is not None:
            self._growing = GrowingFront(self._growing.box)

    def _measure(self, box: ReferenceBox | None) -> None:
        """Bring the hypervolume up to the rows; ``box`` is the study's, once it has one."""
        if self._growing is None and box is not None:
            self._growing = GrowingFront(box)
        if self._growing is not None:
            for row in range(len(self.hypervolume), len(self._costs)):
                if self._believed[row]:
                    self._growing.add(self._costs[row])
                self.hypervolume.append(self._growing.hypervolume)

    def _is_open(self) -> bool:
        directory = self._directory
        if self._study is None and directory.manifest.exists():
            described = directory.read_manifest()
            self.objectives, self.space = described.values, directory.search_space()
            if directory.has_trials():
                self._study = _open_study(directory.location, directory.record_name(described.study))
        return self._study is not None


def _open_study(location: Location, name: str) -> optuna.Study | None:
    """Open a study without the means to change it; None if it is only just being made.

    No connection is kept between two reads, so there is nothing to close.
    """
    never_write: dict[str, object] = {"connect_timeout": 5, "options": "-c default_transaction_read_only=on"}
    url = str(location)
    if isinstance(location, Path):
        url, never_write = f"sqlite:///file:{quote(str(location.resolve()))}?mode=ro&uri=true", {"timeout": 5}
    try:
        storage = RDBStorage(
            url,
            engine_kwargs={"connect_args": never_write, "poolclass": sqlalchemy.pool.NullPool},
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        return optuna.load_study(study_name=name, storage=storage)
    except (KeyError, sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError):
        return None


def _rows(space: SearchSpace, objectives: tuple[Objective, ...], trials: list[FrozenTrial]) -> list[TrialRow]:
    rows = []
    architectures = space.from_indices(space.indices(trial.params for trial in trials))
    for trial, architecture in zip(trials, architectures, strict=True):
        measured = measurements_of(trial)
        values = {objective.name: measured[objective.name] for objective in objectives}
        rows.append(TrialRow(trial.number, str(trial.user_attrs[ARCHITECTURE]), values, dict(architecture)))
    return rows
