"""The run directory: where everything lies, who may write, and what it was made with."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import optuna
from filelock import FileLock, Timeout
from optuna.samplers import BaseSampler

from nas.errors import DamagedFileError, RunDirectoryError, SpaceError, StudyChangedError
from nas.files import make_damage_error
from nas.objective import Objective
from nas.progress import CHOOSE_PROXY, PRETRAIN_SUPERNET, SCORE_UNTRAINED, SEARCH, TRAIN_SUPERNET
from nas.runner.progress import Status
from nas.search.record.storage import (
    DATABASE_ERRORS,
    Location,
    check_connection,
    check_url,
    make_database_error,
    open_study,
    read_study,
    storage_error,
    without_password,
)
from nas.search.record.trials import contradiction
from nas.space import SearchSpace, space_from_description
from nas.stored import read_stored, write_stored

logger = logging.getLogger(__name__)

_LOOK_S = 0.2
"""For so long a run waits for its lock: who only looks whether it is held has it for a moment."""


@final
class RunDirectory:
    """Paths of one run, and where its trials lie.

    Args:
        path: Path of the directory.
        storage: URL of a PostgreSQL database for the trials, with the password if it needs one; None for
            the database the directory remembers, which is an SQLite file unless told otherwise.
    """

    def __init__(self, path: Path, storage: str | None = None) -> None:
        self._given = storage
        self._had_trials = False
        self.path = path
        self.storage = path / "storage.json"
        self.manifest = path / "run.json"
        self.status = path / "status.json"
        self.database = path / "study.db"
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

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from running in this directory.

        Raises:
            RunDirectoryError: another process does, or the directory can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=_LOOK_S)
        except Timeout:
            raise RunDirectoryError(
                f"another process is running in {self.path}: wait for it, stop it, or choose another "
                "directory with --out."
            ) from None
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path} can't be written ({error.strerror or error}): choose another directory with --out."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def is_running(self) -> bool:
        """Whether a process runs here; True also where nobody may try, as on a medium that can't be written."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with FileLock(self.path / ".lock").acquire(timeout=0):
                return False
        except (Timeout, OSError):
            return True

    def claim(self, description: Mapping[str, Any]) -> None:
        """Store what the run is made with, or compare with what it was made with.

        Args:
            description: Plain values by aspect: space, data, objectives, and so on.

        Raises:
            StudyChangedError: an aspect differs.
        """
        if not self.manifest.exists():
            write_stored(self.manifest, description)
            return
        self.read_manifest()  # what must be there
        stored = read_stored(self.manifest, dict[str, Any])
        changed = [aspect for aspect in description if stored.get(aspect) != description[aspect]]
        if changed:
            details = "; ".join(_difference(a, stored.get(a), description[a]) for a in changed)
            raise StudyChangedError(
                f"the study no longer matches what {self.path} was made with: {details}. Undo the change, or "
                "run in another directory with --out; nothing here was touched."
            )

    def claim_storage(self) -> None:
        """Store where the trials lie, without the password, or compare with where they lie.

        On a server the run gets a number, because studies of one name share the server with it.

        Raises:
            StudyChangedError: the trials lie elsewhere.
            StorageError: the server can't be used.
        """
        self._had_trials = self.has_trials() and self._has_searched()
        if self._given is not None:
            check_url(self._given)
            known = self._read_storage().url if self.storage.exists() else None
            if known is None and self.database.exists():
                known = str(self.database)
            if known not in (None, without_password(self._given)):
                raise StudyChangedError(
                    f"the trials of {self.path} are in {known}, and --storage names "
                    f"{without_password(self._given)}: leave --storage out, or run in another directory with --out. "
                    f"If the database has moved, write its new URL into {self.storage} and take the digest out."
                )
            check_connection(self._given)
            if known is None:
                stored = _Storage(without_password(self._given), secrets.token_hex(4))
                write_stored(self.storage, asdict(stored))
        elif isinstance(self.location, str):
            check_connection(self.location)

    @property
    def location(self) -> Location:
        """Where the trials lie; a URL that was given has the password, the stored one doesn't."""
        if not self.storage.exists():
            return self.database
        return self._given or self._read_storage().url

    def beside(self, path: Path) -> RunDirectory:
        """Return another run's directory; where its trials are on the server that was given, with its password."""
        other = RunDirectory(path)
        if self._given is None or not other.storage.exists():
            return other
        is_shared = other._read_storage().url == without_password(self._given)
        return RunDirectory(path, self._given) if is_shared else other

    def has_trials(self) -> bool:
        """Whether the search may have begun."""
        return self.storage.exists() or self.database.exists()

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

    def _read_storage(self) -> _Storage:
        return read_stored(self.storage, _Storage)

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
        return f"{name}-{self._read_storage().run}" if self.storage.exists() else name


@final
@dataclass(frozen=True)
class Manifest:
    """What readers need of ``run.json``; the rest of it is only ever compared.

    Args:
        study: Its name.
        space: Description of the search space.
        values: The objectives, in the order of a trial's values.
        data: Fingerprint of the data.
    """

    study: str
    space: Mapping[str, Any]
    values: tuple[Objective, ...]
    data: str = ""


@final
@dataclass(frozen=True)
class _Storage:
    """Where the trials are on a server.

    Args:
        url: URL of the database, without the password.
        run: Number that ends the names of the run's studies there.
    """

    url: str
    run: str


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


def _difference(aspect: str, before: object, after: object) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        if keys and keys != list(before):
            inner = "; ".join(
                _difference(f"{aspect} {key!r}", before.get(key), after.get(key)) for key in keys[:3]
            )
            return inner + (f"; and {len(keys) - 3} more" if len(keys) > 3 else "")
    return f"{aspect} was {_short(before)} and is now {_short(after)}"


def _short(value: object, limit: int = 160) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
