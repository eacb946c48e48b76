"""The run directory: where everything of a run lies."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import optuna
from optuna.samplers import BaseSampler

from nas.errors import DamagedFileError, RunDirectoryError, SpaceError
from nas.files import make_damage_error
from nas.objective import Objective
from nas.progress import CHOOSE_PROXY, PRETRAIN_SUPERNET, SCORE_UNTRAINED, SEARCH, TRAIN_SUPERNET
from nas.runner.lock import is_locked, lock_directory
from nas.runner.manifest import Manifest, claim_manifest
from nas.runner.progress import Status
from nas.runner.trial_location import TrialLocation
from nas.search.record.storage import (
    DATABASE_ERRORS,
    Location,
    make_database_error,
    open_study,
    read_study,
    storage_error,
)
from nas.search.record.trials import contradiction
from nas.space import SearchSpace, space_from_description
from nas.stored import read_stored

logger = logging.getLogger(__name__)


@final
class RunDirectory:
    """Paths of one run, and where its trials lie.

    Args:
        path: Path of the directory.
        storage: URL of a PostgreSQL database for the trials, with the password if it needs one; None for
            the database the directory remembers, which is an SQLite file unless told otherwise.
    """

    def __init__(self, path: Path, storage: str | None = None) -> None:
        self._had_trials = False
        self._trials = TrialLocation(path, storage)
        self.path = path
        self.storage = self._trials.stored
        self.manifest = path / "run.json"
        self.status = path / "status.json"
        self.database = self._trials.database
        self.pretraining = path / "pretraining"
        self.supernet = path / "supernet"
        self.candidates = path / "candidates"
        self.proxy = path / "proxy.json"
        self.adapted = path / "adapted"
        self.prior = path / "prior.json"
        self.winners = path / "winners"
        self.zero_cost = path / "zero_cost.json"
        self.original = path / "original"
        self.trust = path / "trust"
        self.trust_result = self.trust / "trust.json"
        self.baselines = path / "baselines"
        self.results = path / "report.json"
        self.report = path / "report.md"
        self.front = path / "front.png"
        self.hypervolume = path / "hypervolume.png"
        self.reported = path / "files.json"

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keep every other process from running in this directory; see :func:`nas.runner.lock.lock_directory`."""
        return lock_directory(self.path)

    def is_running(self) -> bool:
        """Whether a process runs here; True also where nobody may try, as on a medium that can't be written."""
        return is_locked(self.path)

    def claim(self, description: Mapping[str, Any]) -> None:
        """Store what the run is made with, or compare; see :func:`nas.runner.manifest.claim_manifest`.

        Raises:
            StudyChangedError: an aspect differs.
        """
        claim_manifest(self.manifest, description)

    def claim_storage(self) -> None:
        """Store where the trials lie, or compare; see :meth:`nas.runner.trial_location.TrialLocation.claim`.

        Raises:
            StudyChangedError: the trials lie elsewhere.
            StorageError: the server can't be used.
        """
        self._had_trials = self.has_trials() and self._has_searched()
        self._trials.claim()

    @property
    def location(self) -> Location:
        """Where the trials lie; a URL that was given has the password, the stored one doesn't."""
        return self._trials.location

    def beside(self, path: Path) -> RunDirectory:
        """Return another run's directory; where its trials are on the server that was given, with its password."""
        return RunDirectory(path, self._trials.url_for(TrialLocation(path, None)))

    def has_trials(self) -> bool:
        """Whether the search may have begun."""
        return self._trials.exists()

    def _has_searched(self) -> bool:
        """Whether an evaluation was finished here, as far as ``status.json`` tells."""
        if not self.status.exists():
            return False
        try:
            status = self.read_status()
        except (DamagedFileError, RunDirectoryError):
            logger.warning("%s is damaged and is made again", self.status)
            return False
        before = (PRETRAIN_SUPERNET, TRAIN_SUPERNET, SCORE_UNTRAINED, CHOOSE_PROXY, SEARCH)
        return status.stage not in before or (status.stage == SEARCH and status.done > 0)

    def check_trials(self, study: optuna.Study, space: SearchSpace, objectives: Sequence[Objective]) -> None:
        """Look whether a search that goes on has its trials, and whether they are what they were.

        Raises:
            DamagedFileError: the database is damaged.
        """
        if self._had_trials and not study.get_trials(deepcopy=False):
            fault: str | None = (
                f"it holds no trials of study {study.study_name!r}, though the search had begun"
            )
        else:
            fault = contradiction(space, objectives, study)
        if fault is not None:
            raise make_database_error(self.location, fault)

    def read_manifest(self) -> Manifest:
        """Return what the run is made with, as far as readers need it.

        Raises:
            DamagedFileError: ``run.json`` is damaged.
            RunDirectoryError: it can't be read.
        """
        return read_stored(self.manifest, Manifest)

    def search_space(self) -> SearchSpace:
        """Return the run's search space.

        Raises:
            DamagedFileError: ``run.json`` is damaged.
            RunDirectoryError: it can't be read.
        """
        try:
            return space_from_description(self.read_manifest().space)
        except SpaceError as error:
            raise make_damage_error(self.manifest, f"its space: {error}") from error

    def read_status(self) -> Status:
        """Return how far the run is.

        Raises:
            DamagedFileError: ``status.json`` is damaged.
            RunDirectoryError: it can't be read.
        """
        return read_stored(self.status, Status)

    def open_study(
        self,
        name: str,
        objectives: Sequence[Objective],
        sampler: BaseSampler | None,
        *,
        to_search: bool = False,
    ) -> optuna.Study:
        """Open or create one of this run's Optuna studies; ``to_search`` as for ``open_study``.

        Raises:
            DamagedFileError: the database is damaged.
            RunDirectoryError: the database file can't be opened or written.
            StorageError: the database server can't be used.
        """
        return open_study(self.location, self.record_name(name), objectives, sampler, to_search=to_search)

    def record_name(self, name: str) -> str:
        """Return what one of this run's Optuna studies is called where the trials lie."""
        return self._trials.record_name(name)


def open_record(directory: RunDirectory) -> tuple[optuna.Study, tuple[Objective, ...]]:
    """Open a run's Optuna study to read it, from any process, and tell its objectives.

    A database file is not written, unless the study is only just being made.

    Raises:
        DamagedFileError: the database is damaged.
        RunDirectoryError: the search hasn't begun, or the database file can't be read or is locked.
        StorageError: the database server can't be used.
    """
    if not directory.has_trials():
        raise RunDirectoryError(f"{directory.database} isn't there: the search hasn't begun.")
    stored, location = directory.read_manifest(), directory.location
    name, objectives = stored.study, stored.values
    study = read_study(location, name) if isinstance(location, Path) else None
    return study or directory.open_study(name, objectives, None), objectives


@contextlib.contextmanager
def reading(directory: RunDirectory) -> Iterator[None]:
    """Within, a database that can no longer be read is an error for the user.

    Raises:
        RunDirectoryError: the database file can't be read or is locked.
        StorageError: the database server can't be used.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        raise storage_error(directory.location, error, reading=True) from error
