"""Who works on a study: one process alone, or several that tell each other by heartbeats that they live."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, final

import optuna
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas.search.record import ERROR, LOST, WORKER, losses_before
from nas.search.storage import LOCK_SPACE

logger = logging.getLogger(__name__)

COORDINATOR = "coordinator"
_MAX_LOSSES = 3
_AGES = """
    SELECT t.trial_id, EXTRACT(EPOCH FROM (CAST(now() AS timestamp) - h.heartbeat))
    FROM trials t LEFT JOIN trial_heartbeats h ON h.trial_id = t.trial_id
    WHERE t.study_id = :study AND t.state = 'RUNNING'
"""


@final
class LoneWorker:
    """The only process of its study: what it finds running was left by an earlier one that died."""

    def lock(self) -> AbstractContextManager[None]:
        """Nobody is there to be kept away."""
        return contextlib.nullcontext()

    def beating(self, trial_id: int) -> AbstractContextManager[None]:
        """Nobody listens."""
        return contextlib.nullcontext()

    def beat(self, trial_id: int) -> None:
        """Nobody listens."""

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Whether nobody works on a running trial that was found at the start: always."""
        return True


@final
class TeamWorker:
    """One of several processes, on one machine or many, that share a study on PostgreSQL.

    Optuna beats and looks for stale trials in ``study.optimize`` alone, so with ask and tell it is done
    here. A heartbeat is a row of Optuna's own table, in the database's time: the machines' clocks don't matter.
    Taking a trial and claiming an architecture happen under an advisory lock of the database, which it
    frees when its holder dies.

    Args:
        study: On a PostgreSQL storage.
        coordinator: Whether this is the process that holds the run directory. There is one at a time, so a trial of
            an earlier coordinator is dead at once.
        interval: Seconds from one heartbeat to the next.
        grace: Seconds without a heartbeat after which a worker counts as dead.
        poll: Seconds between two looks while waiting for others.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        coordinator: bool,
        interval: float = 10.0,
        grace: float = 60.0,
        poll: float = 0.5,
    ) -> None:
        self._study = study
        self._backend = backend_of(study)
        self._interval, self._grace, self._poll = interval, grace, poll
        self.is_coordinator = coordinator
        self.name = COORDINATOR if coordinator else f"{socket.gethostname()}:{os.getpid()}"
        self._silent_since: dict[int, float] = {}
        self._next_look = 0.0

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study's advisory lock until the end of the block."""
        lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:space, :study)")
        with self._backend.engine.begin() as connection:
            connection.execute(lock, {"space": LOCK_SPACE, "study": self._study._study_id})
            yield

    @contextlib.contextmanager
    def beating(self, trial_id: int) -> Iterator[None]:
        """Record heartbeats from a thread until the end of the block."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._interval):
                try:
                    self._backend.record_heartbeat(trial_id)
                except Exception as error:  # the evaluation is worth more than a beat that didn't arrive
                    logger.warning("a heartbeat didn't reach the database (%s); trying again", error)
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                self._backend.remove_session()

        self.beat(trial_id)
        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def beat(self, trial_id: int) -> None:
        """Record one heartbeat."""
        self._backend.record_heartbeat(trial_id)

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Whether it is of an earlier coordinator, and this is the coordinator."""
        return self.is_coordinator and trial.user_attrs.get(WORKER) == COORDINATOR

    def wait(self) -> None:
        """Let others work."""
        time.sleep(self._poll)

    def fail_stale(self, running: Mapping[int, FrozenTrial]) -> bool:
        """Fail the trials of workers that died, and return whether there were any.

        Call it under the lock. The trial is marked as lost, which says nothing of its architecture; only
        when the third worker dies on the same one it counts as a failed evaluation.
        """
        if not running or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + self._grace / 4
        ages = self._ages()
        stale = [t for t in running.values() if self._is_stale(t._trial_id, ages)]
        for trial in stale:
            self.give_up(trial, f"its worker {trial.user_attrs.get(WORKER, 'of unknown name')} stopped")
        return bool(stale)

    def give_up(self, trial: FrozenTrial, why: str) -> None:
        """Mark a running trial as lost."""
        storage = self._study._storage
        losses = 1 + losses_before(self._study, trial.user_attrs)
        try:
            if losses < _MAX_LOSSES:
                storage.set_trial_user_attr(trial._trial_id, LOST, losses)
                outcome = "its architecture is proposed again"
            else:
                outcome = f"WorkerDied: {losses} workers died while they evaluated this architecture"
                storage.set_trial_user_attr(trial._trial_id, ERROR, outcome)
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:  # it was only slow
            return
        logger.warning("trial %d is given up: %s; %s", trial.number, why, outcome)

    def _ages(self) -> dict[int, float | None]:
        """Return seconds since the last heartbeat of every running trial; None where there never was one."""
        with self._backend.engine.connect() as connection:
            rows: Any = connection.execute(sqlalchemy.text(_AGES), {"study": self._study._study_id})
            return {int(trial_id): None if age is None else float(age) for trial_id, age in rows}

    def _is_stale(self, trial_id: int, ages: Mapping[int, float | None]) -> bool:
        if trial_id not in ages:  # finished meanwhile
            return False
        age = ages[trial_id]
        if age is None:  # its worker may be about to beat for the first time, or died before it could
            age = time.monotonic() - self._silent_since.setdefault(trial_id, time.monotonic())
        return age > self._grace


def backend_of(study: optuna.Study) -> RDBStorage:
    """Return the relational storage behind Optuna's cache of a study."""
    backend = getattr(study._storage, "_backend", study._storage)
    assert isinstance(backend, RDBStorage)
    return backend


def worker_for(study: optuna.Study, *, coordinator: bool) -> LoneWorker | TeamWorker:
    """Return this process's part in a study: one of a team where the database is made for several."""
    if isinstance(study._storage, InMemoryStorage) or backend_of(study).engine.dialect.name != "postgresql":
        return LoneWorker()
    return TeamWorker(study, coordinator=coordinator)
