"""The service as a process: one per folder and database, listening until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import final

import sqlalchemy
import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout

from nas.errors import ServiceError
from nas.search.record.storage import LOCK_SPACE
from nas.service.app import create_app
from nas.service.devices import check_devices
from nas.service.settings import Settings
from nas.service.state import State

_CLOSE_S = 2  # event streams end at once, and a longer download can be asked for again


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: Settings of the process.
        tell: Shows a sentence to the operator.

    Raises:
        ServiceError: another service has the folder or the database; the address can't be had; or others could
            connect and nobody has a token; or a device isn't there.
    """
    check_devices(settings.devices)
    with only_service(settings.folder), _listening(settings) as listener:
        app = create_app(settings)
        service: State = app.state.service
        with _only_user(service.store.engine):
            first = _first_token(service, settings)
            host, port = listener.getsockname()[:2]
            tell(f"nas is served at {_url(settings, host, port)}")
            if first is not None:
                tell(f"Sign in with this token, which is shown only once:\n\n    {first}\n")
            else:
                tell("Sign in with a token of yours; 'nas token create' makes one.")
            _Server(app, settings).run(sockets=[listener])


@contextlib.contextmanager
def only_service(folder: Path) -> Iterator[None]:
    """Keep every other service from this folder.

    Raises:
        ServiceError: one has it already, or the folder can't be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # models and queue are for the operator
        held = FileLock(folder / ".service.lock").acquire(timeout=0)
    except Timeout:
        raise ServiceError(
            f"another service is running on {folder}: stop it first, or choose another --folder."
        ) from None
    except OSError as error:
        raise ServiceError(
            f"{folder} can't be written ({error.strerror or error}): choose another --folder."
        ) from error
    with held:
        yield


@contextlib.contextmanager
def _only_user(engine: sqlalchemy.Engine) -> Iterator[None]:
    """Keep every other service from this database; a file in the folder has the folder's lock already."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # from the pool, which would keep the lock when this is over
        asked = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(LOCK_SPACE))
        if not connection.execute(asked).scalar():
            raise ServiceError(
                "another service is running on this database: stop it first, or give each a database of its own."
            )
        yield


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        try:
            family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.port))
            listener.listen()  # whoever follows the printed address at once waits instead of being refused
        except (OSError, UnicodeError) as error:  # the latter of a host that is no name
            reason = getattr(error, "strerror", None) or error
            raise ServiceError(
                f"the service can't listen on {settings.host}, port {settings.port} ({reason}): "
                "choose another --host or --port."
            ) from error
        yield listener


def _first_token(service: State, settings: Settings) -> str | None:
    """Make a token if nobody has one, and return its text.

    Raises:
        ServiceError: others than this machine can connect.
    """
    if service.tokens.is_any_valid():
        return None
    if not settings.is_loopback:
        raise ServiceError(
            f"the service was to listen on {settings.host}, where others can connect, and no token is configured: "
            "make one with 'nas token create' first, for the same --folder and --storage."
        )
    return service.tokens.create("first", "run")[1]


def _url(settings: Settings, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.https else 'http'}://{shown}:{port}{settings.root_path}"


@final
class _Server(uvicorn.Server):
    """Ends the event streams when it is told to stop, which it would wait for otherwise."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # the application believes those of declared proxies, and no others
                server_header=False,
                timeout_graceful_shutdown=_CLOSE_S,
                timeout_keep_alive=30,
            )
        )
        self._service: State = app.state.service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in an orderly way, after SIGTERM and after Ctrl-C; Ctrl-C twice doesn't wait for anybody."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._service.watches.end()
