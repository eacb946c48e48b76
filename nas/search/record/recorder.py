"""Keeps a study in memory for the one process that searches, and writes to the database in few transactions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, final

import optuna
import sqlalchemy.orm
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.storages._rdb.models import TrialParamModel, TrialUserAttributeModel
from optuna.trial import FrozenTrial, TrialState

_Model = TrialParamModel | TrialUserAttributeModel


def attach_recorder(study: optuna.Study, database: RDBStorage) -> optuna.Study:
    """Return a study that is kept in memory, for the one process that makes and finishes its trials.

    Args:
        study: The study in the database.
        database: The database, which is written as Optuna itself would.
    """
    recorder = Recorder(study._storage, database, study)
    return optuna.load_study(study_name=study.study_name, storage=recorder, sampler=study.sampler)


@contextlib.contextmanager
def write_together(study: optuna.Study) -> Iterator[None]:
    """Within, changes of trials are collected and written at the end in one transaction, if a Recorder writes them."""
    storage = study._storage
    with storage.write_together() if isinstance(storage, Recorder) else contextlib.nullcontext():
        yield


@final
class Recorder(InMemoryStorage):
    """Answers from memory, and writes to a database too.

    Optuna's own storage reads all running trials from the database whenever any are asked for, and looks the trial up
    and commits for every parameter and attribute. Here everything is read once, and written in transactions. What
    other programs queue is found when a trial is asked for. What else they write is not seen, so one process alone may
    make and finish a study's trials.

    A trial's id is its number; the database has ids of its own.

    Args:
        stored: The study's storage.
        database: The one below it.
        study: In it.
    """

    def __init__(self, stored: BaseStorage, database: RDBStorage, study: optuna.Study) -> None:
        super().__init__()
        self._stored, self._stored_study = stored, study._study_id
        self._sessions = sqlalchemy.orm.scoped_session(
            sqlalchemy.orm.sessionmaker(bind=database.engine, class_=_Session)
        )
        database.scoped_session = self._sessions  # type: ignore[assignment] # a session of ours is one
        self._ids: list[int] = []  # in the database, by number
        self._next_id = 0
        self._kept: _Kept | None = None
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of a new study in memory
        self._study = super().create_new_study(study.directions, study.study_name)
        optuna.logging.set_verbosity(verbosity)
        for key, value in study.user_attrs.items():
            super().set_study_user_attr(self._study, key, value)
        for key, value in stored.get_study_system_attrs(self._stored_study).items():
            super().set_study_system_attr(self._study, key, value)
        self._read_on()

    @contextlib.contextmanager
    def write_together(self) -> Iterator[None]:
        """Within, changes of trials are collected and written at the end in one transaction."""
        kept = self._kept = _Kept({}, [])
        try:
            yield
        finally:
            self._kept = None
            if kept.rows or kept.steps:
                self._write(kept)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return trials; if waiting ones are asked for, those that other programs have queued are read first."""
        if states == (TrialState.WAITING,):
            with contextlib.suppress(KeyError):  # there is none
                # One look-up in place of reading all trials, which Optuna does whenever a trial is asked for.
                self._stored.get_trial(self._next_id)
                self._read_on()
        return super().get_all_trials(study_id, deepcopy, states)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial, at once, because others may make some too."""
        made = self._stored.create_new_trial(self._stored_study, template_trial)
        # Another program has made trials meanwhile, which come before this one.
        if made != self._next_id:
            self._read_on()
            self._next_id = made + 1
            return self._ids.index(made)
        self._ids.append(made)
        self._next_id = made + 1
        return super().create_new_trial(study_id, template_trial)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        stored_id = self._ids[trial_id]
        if self._kept is None:
            self._stored.set_trial_param(stored_id, param_name, param_value_internal, distribution)
        else:
            self._kept.add_row(
                TrialParamModel,
                {
                    "trial_id": stored_id,
                    "param_name": param_name,
                    "param_value": param_value_internal,
                    "distribution_json": distribution_to_json(distribution),
                },
            )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state, at once where a trial is taken up."""
        stored_id = self._ids[trial_id]
        # At once, because the database decides which of several processes gets a waiting trial.
        if state == TrialState.RUNNING and not self._stored.set_trial_state_values(stored_id, state, values):
            return False
        is_set = super().set_trial_state_values(trial_id, state, values)
        if state != TrialState.RUNNING:
            self._do(lambda: self._stored.set_trial_state_values(stored_id, state, values))
        return is_set

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set a value on the way."""
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        stored_id = self._ids[trial_id]
        self._do(lambda: self._stored.set_trial_intermediate_value(stored_id, step, intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute, as it will be read back."""
        is_new = key not in self.get_trial(trial_id).user_attrs
        super().set_trial_user_attr(trial_id, key, _read_back(value))
        stored_id = self._ids[trial_id]
        if self._kept is not None and is_new:
            row = {"trial_id": stored_id, "key": key, "value_json": json.dumps(value)}
            self._kept.add_row(TrialUserAttributeModel, row)
            return
        self._do(lambda: self._stored.set_trial_user_attr(stored_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute, as it will be read back."""
        super().set_trial_system_attr(trial_id, key, _read_back(value))
        stored_id = self._ids[trial_id]
        self._do(lambda: self._stored.set_trial_system_attr(stored_id, key, value))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute, at once."""
        super().set_study_user_attr(study_id, key, _read_back(value))
        self._stored.set_study_user_attr(self._stored_study, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute, at once."""
        super().set_study_system_attr(study_id, key, _read_back(value))
        self._stored.set_study_system_attr(self._stored_study, key, value)

    def remove_session(self) -> None:
        """Give connections back."""
        self._stored.remove_session()

    def _read_on(self) -> None:
        """Take in the trials after those that are known."""
        for trial in self._stored.get_all_trials(self._stored_study, deepcopy=False)[len(self._ids) :]:
            super().create_new_trial(self._study, trial)
            self._ids.append(trial._trial_id)
            self._next_id = max(self._next_id, trial._trial_id + 1)

    def _do(self, step: Callable[[], object]) -> None:
        if self._kept is None:
            step()
        else:
            self._kept.steps.append(step)

    def _write(self, kept: _Kept) -> None:
        session = self._sessions()
        session.holds = True
        try:
            # Before the steps, of which one may finish the trial that these belong to.
            for model, rows in kept.rows.items():
                session.execute(sqlalchemy.insert(model), rows)
            for step in kept.steps:
                step()
            session.holds = False
            session.commit()
        finally:
            session.holds = False
            session.close()  # which undoes what is not committed


@final
class _Kept:
    """What is to be written together.

    Args:
        rows: New rows of trials' parameters and attributes by their tables, which go in one statement each: Optuna's
            own way is one look-up each.
        steps: All else.
    """

    def __init__(
        self, rows: dict[type[_Model], list[dict[str, object]]], steps: list[Callable[[], object]]
    ) -> None:
        self.rows, self.steps = rows, steps

    def add_row(self, model: type[_Model], row: dict[str, object]) -> None:
        """Add a row of a table."""
        self.rows.setdefault(model, []).append(row)


class _Session(sqlalchemy.orm.Session):
    """A session of Optuna's that may go on over several of its steps."""

    holds = False

    def commit(self) -> None:
        """Commit, unless more is to come."""
        if not self.holds:
            super().commit()

    def close(self) -> None:
        """Give the connection back, unless more is to come."""
        if not self.holds:
            super().close()


def _read_back(value: Any) -> Any:
    # As JSON has it, tuples are lists and keys are texts: a search that goes on without a kill must see what one that
    # reads the database again sees.
    return json.loads(json.dumps(value))
