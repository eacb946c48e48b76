"""The study's database: an ordinary Optuna SQLite storage, checked before it is trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage

from nas.errors import DamagedFileError, RunDirectoryError
from nas.objective import Objective


def open_study(
    path: Path, name: str, objectives: Sequence[Objective], sampler: BaseSampler | None
) -> optuna.Study:
    """Open or create the study in the SQLite file ``path``.

    A trial costs a commit per parameter. Write-ahead logging makes a commit an append without a sync:
    nothing is lost when the process is killed, at most the last moments when the power fails.

    Raises:
        DamagedFileError: the file is not an intact SQLite database.
        RunDirectoryError: the file can't be opened or written.
    """
    _check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = RDBStorage(f"sqlite:///{quote(str(path))}", engine_kwargs={"connect_args": {"timeout": 60}})
        sqlalchemy.event.listen(storage.engine, "connect", _relax)
        storage.engine.dispose()  # connections made before the listener
        return optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            directions=[objective.direction for objective in objectives],
            load_if_exists=True,
        )
    except (OSError, sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError) as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: Exception) -> RunDirectoryError:
    """Return what to tell a user when the database can't be written."""
    reason = str(getattr(error, "orig", None) or error.__cause__ or error).splitlines()[0]
    return RunDirectoryError(
        f"the study's database {path} can't be written ({reason}): free some space or make the directory "
        "writable, then run the same command again; finished trials are kept."
    )


def _check(path: Path) -> None:
    if not path.exists():
        return
    try:
        with sqlite3.connect(path) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        connection.close()
    except sqlite3.OperationalError as error:
        raise storage_error(path, error) from error
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        verdict = " ".join(verdict.split())
        raise DamagedFileError(
            f"the study's database {path} is damaged ({verdict}): rescue its trials with "
            f"'sqlite3 {path.name} .recover', or move it away to search again; the trained supernet is kept."
        )


def _relax(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
