"""Where the trials of a run lie: in an SQLite file in its directory, or on a PostgreSQL server."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from nas.errors import StudyChangedError
from nas.search.record.storage import Location, check_connection, check_url, without_password
from nas.stored import read_stored, write_stored


@final
@dataclass(frozen=True)
class _Stored:
    """Where the trials are on a server.

    Args:
        url: URL of the database, without the password.
        run: Number that ends the names of the run's studies there.
    """

    url: str
    run: str


@final
class TrialLocation:
    """Knows the database of a run's trials.

    Args:
        directory: The run directory.
        given: URL of a PostgreSQL database, with the password if it needs one; None for the database that the
            directory remembers, which is an SQLite file unless told otherwise.
    """

    def __init__(self, directory: Path, given: str | None) -> None:
        self._directory, self._given = directory, given
        self.stored = directory / "storage.json"
        self.database = directory / "study.db"

    @property
    def location(self) -> Location:
        """Where the trials lie; a URL that was given has the password, the stored one doesn't."""
        if not self.stored.exists():
            return self.database
        return self._given or self._read().url

    def exists(self) -> bool:
        """Whether a database was chosen, so that the search may have begun."""
        return self.stored.exists() or self.database.exists()

    def claim(self) -> None:
        """Store where the trials lie, without the password, or compare with where they lie.

        On a server the run gets a number, because studies of one name share the server with it.

        Raises:
            StudyChangedError: the trials lie elsewhere.
            StorageError: the server can't be used.
        """
        if self._given is None:
            if isinstance(self.location, str):
                check_connection(self.location)
            return
        check_url(self._given)
        shown, known = without_password(self._given), self._find_known()
        if known not in (None, shown):
            raise StudyChangedError(
                f"the trials of {self._directory} are in {known}, and --storage names "
                f"{shown}: leave --storage out, or run in another directory with --out. "
                f"If the database has moved, write its new URL into {self.stored} and take the digest out."
            )
        check_connection(self._given)
        if known is None:
            write_stored(self.stored, asdict(_Stored(shown, secrets.token_hex(4))))

    def _find_known(self) -> str | None:
        if self.stored.exists():
            return self._read().url
        return str(self.database) if self.database.exists() else None

    def url_for(self, other: TrialLocation) -> str | None:
        """Return the URL that was given, with its password, where another run's trials are on the same server."""
        if self._given is None or not other.stored.exists():
            return None
        return self._given if other._read().url == without_password(self._given) else None

    def record_name(self, name: str) -> str:
        """Return what one of the run's Optuna studies is called where the trials lie."""
        return f"{name}-{self._read().run}" if self.stored.exists() else name

    def _read(self) -> _Stored:
        return read_stored(self.stored, _Stored)
