"""The service's own tables: tokens, sessions, and the queue of runs. SQLite or PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, final

import sqlalchemy
from pydantic import JsonValue
from sqlalchemy import JSON, String, Text, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, sessionmaker

from nas.errors import ServiceError, first_line
from nas.search.record.storage import without_password, write_ahead

Role = Literal["read", "run"]
State = Literal["queued", "running", "paused", "cancelled", "failed", "finished"]
UNFINISHED: tuple[State, ...] = ("queued", "running", "paused")
OVER: tuple[State, ...] = ("cancelled", "failed", "finished")
Action = Literal["pause", "resume", "cancel"]
"""What may be done with a run that was started."""


class _Row(MappedAsDataclass, DeclarativeBase):
    """A row of a table; what a query returns is a copy, and changing it changes nothing stored."""


@final
class Token(_Row):
    """A bearer token as it is stored: who may do what, never the secret itself.

    Times are seconds since 1970; ``expires`` and ``revoked`` may be None.
    """

    __tablename__ = "service_tokens"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    role: Mapped[Role] = mapped_column(String(8))
    secret_hash: Mapped[str] = mapped_column(String(200), repr=False)
    created: Mapped[float]
    expires: Mapped[float | None] = mapped_column(default=None)
    revoked: Mapped[float | None] = mapped_column(default=None)

    @property
    def may_run(self) -> bool:
        """Whether it may start, stop and change runs."""
        return self.role == "run"

    def is_valid(self, now: float) -> bool:
        """Whether it is neither revoked nor expired, nor made by a version that stored another hash than SHA-256."""
        is_known = re.fullmatch(r"[0-9a-f]{64}", self.secret_hash) is not None
        return is_known and self.revoked is None and (self.expires is None or now < self.expires)


@final
class SignIn(_Row):
    """A sign-in of a browser; ``digest`` is of the cookie's value."""

    __tablename__ = "service_sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[str] = mapped_column(String(16))
    expires: Mapped[float]


@final
class Run(_Row):
    """A study in the queue, running, or at rest.

    Args:
        position: Order of arrival.
        id: Id of the run; the name of its directory.
        study: Name in the catalogue.
        changes: What the user changed, as sent.
        evaluations: That are asked for.
        device: Where it trains.
        token_id: Who started it.
        state: As users see it.
        created: When it was asked for.
        intent: What it shall become once its process has stopped: paused or cancelled.
        restarts: After crashes, since it was last started by hand.
        not_before: No restart before this time.
        last_words: The end of the log of a process that failed.
        started: When its first process began.
        finished: When it came to rest for good.
    """

    __tablename__ = "service_runs"

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=True, init=False)
    id: Mapped[str] = mapped_column(String(120), unique=True)
    study: Mapped[str] = mapped_column(String(100))
    changes: Mapped[dict[str, JsonValue]] = mapped_column(JSON)
    evaluations: Mapped[int]
    device: Mapped[str] = mapped_column(String(40))
    token_id: Mapped[str] = mapped_column(String(16))
    state: Mapped[State] = mapped_column(String(12), index=True)
    created: Mapped[float]
    intent: Mapped[State | None] = mapped_column(String(12), default=None)
    restarts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    last_words: Mapped[str | None] = mapped_column(Text, default=None)
    started: Mapped[float | None] = mapped_column(default=None)
    finished: Mapped[float | None] = mapped_column(default=None)


@final
class Store:
    """The database of the service; ``begin()`` gives a transaction.

    Args:
        url: SQLAlchemy's; ``sqlite:///...`` or ``postgresql+psycopg://...``.

    Raises:
        ServiceError: the database can't be opened.
    """

    def __init__(self, url: str) -> None:
        try:
            is_sqlite = sqlalchemy.make_url(url).get_backend_name() == "sqlite"
            arguments = {"timeout": 30} if is_sqlite else {"connect_timeout": 10}
            self.engine = sqlalchemy.create_engine(
                url,
                connect_args=arguments,
                pool_pre_ping=not is_sqlite,
                hide_parameters=True,  # hashes of tokens are among them
            )
            if is_sqlite:
                sqlalchemy.event.listen(self.engine, "connect", write_ahead)
            _Row.metadata.create_all(self.engine)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
            reason = first_line(getattr(error, "orig", None) or error)
            raise ServiceError(
                f"the service's database{_format_url(url)} can't be opened ({reason}): check the address given with "
                "--storage, that the database runs, and for PostgreSQL that nas[postgres] is installed."
            ) from None
        self.begin = sessionmaker(self.engine, expire_on_commit=False).begin

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def add_run(self, run: Run) -> Run:
        """Put a run at the end of the queue and return it as stored."""
        with self.begin() as session:
            session.add(run)
        return run

    def run(self, id_: str) -> Run | None:
        """Return the run of that id."""
        with self.begin() as session:
            return session.scalar(select(Run).where(Run.id == id_))

    def runs(self, *, before: int | None, limit: int) -> list[Run]:
        """Return runs, newest first, from those that arrived before a position."""
        wanted = select(Run).order_by(Run.position.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(Run.position < before)
        return self._runs(wanted)

    def runs_in(self, states: Sequence[State], token_id: str | None = None) -> list[Run]:
        """Return the runs in these states, oldest first."""
        wanted = select(Run).where(Run.state.in_(states)).order_by(Run.position)
        if token_id is not None:
            wanted = wanted.where(Run.token_id == token_id)
        return self._runs(wanted)

    def change_run(self, id_: str, **values: Any) -> None:
        """Set columns of a run."""
        with self.begin() as session:
            session.execute(update(Run).where(Run.id == id_).values(**values))

    def _runs(self, wanted: sqlalchemy.Select[Run]) -> list[Run]:
        with self.begin() as session:
            return list(session.scalars(wanted))


def _format_url(url: str) -> str:
    try:
        return f" {without_password(url)}"
    except sqlalchemy.exc.ArgumentError:
        return ""  # not an address at all; may hold anything, a password too
