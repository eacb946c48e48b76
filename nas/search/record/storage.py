"""The study's database: an ordinary Optuna storage, in an SQLite file or on a PostgreSQL server."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage

from nas.errors import DamagedFileError, RunDirectoryError, StorageError, first_line, one_line
from nas.objective import Objective
from nas.search.record.recorder import attach_recorder

DATABASE_ERRORS = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.ProgrammingError,
    optuna.exceptions.StorageInternalError,
)
Location = Path | str
"""Where a study lies: an SQLite file, or the URL of a PostgreSQL database."""

LOCK_SPACE = 0x6E6173
"""Our advisory locks among those of other programs: "nas"."""

_READER_WAITS_S = 5.0
"""For a lock. With write-ahead logging readers and a writer don't wait for each other, so a lock that lasts longer is
another program's, of which the user should hear."""
_POSTGRESQL = "postgresql+psycopg"
_EXAMPLE = f"{_POSTGRESQL}://user@host/database"


def open_study(
    location: Location,
    name: str,
    objectives: Sequence[Objective],
    sampler: BaseSampler | None,
    *,
    to_search: bool = False,
) -> optuna.Study:
    """Open or create a study.

    Args:
        location: Where it lies.
        name: What it is called there.
        objectives: Objectives of its trials.
        sampler: Proposes.
        to_search: This process alone makes and finishes trials, until it lets go of the study: that is much faster.

    Raises:
        DamagedFileError: the file is not an intact SQLite database.
        RunDirectoryError: the file can't be opened or written.
        StorageError: the server can't be reached or refuses.
    """
    try:
        database = _open_file(location) if isinstance(location, Path) else _open_server(location)
        study = optuna.create_study(
            storage=database,
            study_name=name,
            sampler=sampler,
            directions=[objective.direction for objective in objectives],
            load_if_exists=True,
        )
        _readable(study, location)
        return attach_recorder(study, database) if to_search else study
    except DATABASE_ERRORS as error:
        raise storage_error(location, error) from error


def read_study(path: Path, name: str) -> optuna.Study | None:
    """Open a study in an SQLite file for reading alone; the file and its directory need not be writable.

    Returns:
        None if the study is only just being made.

    Raises:
        DamagedFileError: the file is not an intact SQLite database.
        RunDirectoryError: the file can't be read, or another process has it locked.
    """
    _check(path, reading=True)
    pooling = {"creator": partial(_connect, path), "poolclass": sqlalchemy.pool.NullPool}
    try:
        storage = RDBStorage("sqlite://", engine_kwargs=pooling, skip_table_creation=True)
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    except DATABASE_ERRORS as error:
        if "no such table" in str(_cause(error)):
            return None
        raise storage_error(path, error, reading=True) from error
    try:
        return _readable(study, path)
    except DATABASE_ERRORS as error:
        raise storage_error(path, error, reading=True) from error


def _readable(study: optuna.Study, location: Location) -> optuna.Study:
    """Return a study after reading its trials, which Optuna then keeps: so damage shows here, and in one sentence."""
    try:
        study.get_trials(deepcopy=False)
        _ = study.user_attrs
    except DATABASE_ERRORS:
        raise
    except Exception as error:  # what the database returns may be anything
        raise make_database_error(location, f"{type(error).__name__}: {one_line(error)}") from error
    return study


def make_database_error(location: Location, reason: str) -> DamagedFileError:
    """Return the error for a database whose trials are inconsistent."""
    if isinstance(location, Path):
        place, remedy = (
            str(location),
            f"rescue its trials with 'sqlite3 {location.name} .recover', or move it away",
        )
    else:
        place, remedy = without_password(location), "restore it from a copy, or move storage.json away"
    return DamagedFileError(
        f"the study's database {place} is damaged ({reason}): {remedy} to search again; the trained supernet is kept."
    )


def _connect(path: Path) -> sqlite3.Connection:
    """Return a connection for reading; SQLite's side files can't be made where nothing can be written."""
    log = Path(f"{path}-wal")
    if os.access(path.parent, os.W_OK):
        options = "mode=rw"  # cleans up its side files, which mode=ro leaves behind
    elif log.exists() and log.stat().st_size:
        options = "mode=ro"
    else:
        options = "mode=ro&immutable=1"
    address = f"file:{quote(str(path.absolute()))}?{options}"
    return sqlite3.connect(address, timeout=_READER_WAITS_S, uri=True, check_same_thread=False)


def _open_file(path: Path) -> RDBStorage:
    """Return the storage in an SQLite file.

    Write-ahead logging makes a commit an append without a sync: nothing is lost when the process is killed, at most
    the last moments when the power fails.
    """
    _check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    # A writer is patient, because what it can't write is lost: another program may copy or vacuum the file.
    storage = RDBStorage(f"sqlite:///{quote(str(path))}", engine_kwargs={"connect_args": {"timeout": 60}})
    sqlalchemy.event.listen(storage.engine, "connect", write_ahead)
    storage.engine.dispose()  # connections made before the listener
    return storage


def _open_server(url: str) -> RDBStorage:
    """Return the storage on a PostgreSQL server; connections that it closed meanwhile are opened anew.

    Two processes can't make the tables at the same time, so they take turns.
    """
    check_url(url)
    turns = sqlalchemy.create_engine(url)
    try:
        with turns.begin() as connection:
            connection.execute(
                sqlalchemy.text("SELECT pg_advisory_xact_lock(:space, 0)"), {"space": LOCK_SPACE}
            )
            storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    finally:
        turns.dispose()
    weakref.finalize(storage, storage.engine.dispose)  # nothing else closes its connections
    return storage


def check_url(url: str) -> None:
    """Refuse what is no URL of a PostgreSQL database.

    Raises:
        StorageError: and says what is expected.
    """
    try:
        scheme = sqlalchemy.make_url(url).drivername
    except sqlalchemy.exc.ArgumentError:
        scheme = "something that is no URL"
    if scheme != _POSTGRESQL:
        raise StorageError(
            f"the storage is {scheme}, and {_EXAMPLE} is expected; leave --storage out to keep the trials in an "
            "SQLite file in the run directory."
        )
    if importlib.util.find_spec("psycopg") is None:
        raise StorageError("PostgreSQL needs psycopg, which isn't installed: pip install 'nas[postgres]'.")


def check_connection(url: str) -> None:
    """Check that a database server can be used, before anything expensive is done.

    Raises:
        StorageError: it can't be used.
    """
    check_url(url)
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect():
            pass
    except DATABASE_ERRORS as error:
        raise storage_error(url, error) from error
    finally:
        engine.dispose()


def without_password(url: str) -> str:
    """Return a storage URL without its password, to be shown and stored."""
    parts = sqlalchemy.make_url(url).difference_update_query(["password"])
    shown = sqlalchemy.URL.create(
        parts.drivername, parts.username, None, parts.host, parts.port, parts.database, parts.query
    )
    return shown.render_as_string(hide_password=False)


def storage_error(
    location: Location, error: Exception, *, reading: bool = False
) -> RunDirectoryError | StorageError:
    """Return the error for a database that can't be written, or with ``reading`` can't be read."""
    cause = _cause(error)
    reason = one_line(cause) if isinstance(location, str) else first_line(cause)
    if isinstance(location, Path):
        return RunDirectoryError(f"the study's database {location} {_advice(reason, reading)}")
    return StorageError(
        f"the study's database {without_password(location)} can't be used ({reason}): see that the server runs, "
        "and give the password in PGPASSWORD, in a .pgpass file, or in the URL of --storage or NAS_STORAGE, then run "
        "the same command again; finished trials are kept."
    )


def _cause(error: BaseException) -> BaseException:
    """Return the error of the database's driver, which SQLAlchemy and Optuna have wrapped."""
    cause: BaseException = getattr(error, "orig", None) or error.__cause__ or error
    return getattr(cause, "orig", None) or cause


def _advice(reason: str, reading: bool) -> str:
    if "locked" in reason:
        return (
            f"is locked by another process ({reason}): wait for it or end it, then run the same command again; "
            "finished trials are kept."
        )
    if reading:
        return (
            f"can't be read ({reason}): make it readable, or copy the run directory to where you may write, and "
            "name the copy."
        )
    return (
        f"can't be written ({reason}): free some space or make the directory writable, then run the same command "
        "again; finished trials are kept."
    )


def _check(path: Path, *, reading: bool = False) -> None:
    if not path.exists():
        return
    try:
        with contextlib.closing(_connect(path) if reading else sqlite3.connect(path)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise storage_error(path, error, reading=reading) from error
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise make_database_error(path, " ".join(verdict.split()))


def write_ahead(connection: Any, _record: object) -> None:
    """Set a new connection of an engine so that readers and a writer of an SQLite file don't wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
