"""The service's own tables: tokens, sessions, and the queue of runs. SQLite or PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, final

import sqlalchemy
from sqlalchemy import JSON, Column, Float, Integer, String, Table, Text

from nas.errors import ServiceError
from nas.search.storage import without_password, write_ahead

Role = Literal["read", "run"]
State = Literal["queued", "running", "paused", "cancelled", "failed", "finished"]
UNFINISHED: tuple[State, ...] = ("queued", "running", "paused")

_metadata = sqlalchemy.MetaData()
_tokens = Table(
    "service_tokens",
    _metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("role", String(8), nullable=False),
    Column("secret_hash", String(200), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
)
_sessions = Table(
    "service_sessions",
    _metadata,
    Column("digest", String(64), primary_key=True),
    Column("token_id", String(16), nullable=False),
    Column("expires", Float, nullable=False),
)
_runs = Table(
    "service_runs",
    _metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String(120), unique=True, nullable=False),
    Column("study", String(100), nullable=False),
    Column("changes", JSON, nullable=False),
    Column("evaluations", Integer, nullable=False),
    Column("device", String(40), nullable=False),
    Column("token_id", String(16), nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("intent", String(12)),
    Column("restarts", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("last_words", Text),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
)


@final
@dataclass(frozen=True)
class Token:
    """A bearer token as it is stored: who may do what, never the secret itself.

    Times are seconds since 1970; ``expires`` and ``revoked`` may be None.
    """

    id: str
    name: str
    role: Role
    secret_hash: str = field(repr=False)
    created: float
    expires: float | None = None
    revoked: float | None = None

    @property
    def may_run(self) -> bool:
        """Whether it may start, stop and change runs."""
        return self.role == "run"

    def is_valid(self, now: float) -> bool:
        """Whether it is neither revoked nor expired, nor made by a version that stored another hash than SHA-256."""
        is_known = re.fullmatch(r"[0-9a-f]{64}", self.secret_hash) is not None
        return is_known and self.revoked is None and (self.expires is None or now < self.expires)


@final
@dataclass(frozen=True)
class Session:
    """A sign-in of a browser; ``digest`` is of the cookie's value."""

    digest: str
    token_id: str
    expires: float


@final
@dataclass(frozen=True)
class Run:
    """A study in the queue, running, or at rest.

    Args:
        id: Of the run; the name of its directory.
        study: Name in the catalogue.
        changes: What the user changed, as sent.
        evaluations: That are asked for.
        device: Where it trains.
        token_id: Who started it.
        state: As users see it.
        intent: What it shall become once its process has stopped: paused or cancelled.
        restarts: After crashes, since it was last started by hand.
        not_before: No restart before this time.
        last_words: The end of the log of a process that failed.
        created: When it was asked for.
        started: When its first process began.
        finished: When it came to rest for good.
        position: Order of arrival; 0 before it is stored.
    """

    id: str
    study: str
    changes: Mapping[str, Any]
    evaluations: int
    device: str
    token_id: str
    state: State
    created: float
    intent: State | None = None
    restarts: int = 0
    not_before: float = 0.0
    last_words: str | None = None
    started: float | None = None
    finished: float | None = None
    position: int = 0


@final
class Store:
    """The database of the service.

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
            _metadata.create_all(self.engine)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise ServiceError(
                f"the service's database{_shown(url)} can't be opened ({reason}): check the address given with "
                "--storage, that the database runs, and for PostgreSQL that nas[postgres] is installed."
            ) from None

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def add_token(self, token: Token) -> None:
        """Store a new token."""
        with self.engine.begin() as connection:
            connection.execute(_tokens.insert(), asdict(token))

    def token(self, id_: str) -> Token | None:
        """Return the token of that id."""
        with self.engine.connect() as connection:
            row = connection.execute(_tokens.select().where(_tokens.c.id == id_)).mappings().first()
        return None if row is None else Token(**row)

    def tokens(self) -> list[Token]:
        """Return all tokens, oldest first."""
        with self.engine.connect() as connection:
            rows = connection.execute(_tokens.select().order_by(_tokens.c.created)).mappings()
            return [Token(**row) for row in rows]

    def revoke_token(self, id_: str, now: float) -> None:
        """Make a token worthless, with all sign-ins made by it."""
        with self.engine.begin() as connection:
            connection.execute(_tokens.update().where(_tokens.c.id == id_).values(revoked=now))
            connection.execute(_sessions.delete().where(_sessions.c.token_id == id_))

    def add_session(self, session: Session, now: float) -> None:
        """Store a new sign-in, and forget those that are over."""
        with self.engine.begin() as connection:
            connection.execute(_sessions.delete().where(_sessions.c.expires <= now))
            connection.execute(_sessions.insert(), asdict(session))

    def session(self, digest: str) -> Session | None:
        """Return the sign-in of that cookie."""
        with self.engine.connect() as connection:
            row = (
                connection.execute(_sessions.select().where(_sessions.c.digest == digest)).mappings().first()
            )
        return None if row is None else Session(**row)

    def drop_session(self, digest: str) -> None:
        """End a sign-in."""
        with self.engine.begin() as connection:
            connection.execute(_sessions.delete().where(_sessions.c.digest == digest))

    def add_run(self, run: Run) -> Run:
        """Put a run at the end of the queue and return it as stored."""
        values = asdict(run)
        del values["position"]
        with self.engine.begin() as connection:
            connection.execute(_runs.insert(), values)
        stored = self.run(run.id)
        assert stored is not None
        return stored

    def run(self, id_: str) -> Run | None:
        """Return the run of that id."""
        with self.engine.connect() as connection:
            row = connection.execute(_runs.select().where(_runs.c.id == id_)).mappings().first()
        return None if row is None else Run(**row)

    def runs(self, *, before: int | None, limit: int) -> list[Run]:
        """Return runs, newest first, from those that arrived before a position."""
        wanted = _runs.select().order_by(_runs.c.position.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(_runs.c.position < before)
        return self._runs(wanted)

    def runs_in(self, states: Sequence[State], token_id: str | None = None) -> list[Run]:
        """Return the runs in these states, oldest first."""
        wanted = _runs.select().where(_runs.c.state.in_(states)).order_by(_runs.c.position)
        if token_id is not None:
            wanted = wanted.where(_runs.c.token_id == token_id)
        return self._runs(wanted)

    def change_run(self, id_: str, **values: Any) -> None:
        """Set columns of a run."""
        with self.engine.begin() as connection:
            connection.execute(_runs.update().where(_runs.c.id == id_).values(**values))

    def _runs(self, wanted: sqlalchemy.Select[Any]) -> list[Run]:
        with self.engine.connect() as connection:
            return [Run(**row) for row in connection.execute(wanted).mappings()]


def _shown(url: str) -> str:
    try:
        return f" {without_password(url)}"
    except sqlalchemy.exc.ArgumentError:
        return ""  # not an address at all; may hold anything, a password too
