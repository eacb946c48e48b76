"""``nas serve`` and ``nas token``. What takes time to import is imported when it is needed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.errors import ServiceError, one_line
from nas.report.tables import Table
from nas.terminal import console, log_to_terminal, print_table, tell_aside

if TYPE_CHECKING:
    from nas.service.tokens import Tokens

token_app = typer.Typer(
    help="Create, list and revoke the tokens that the service lets in.", no_args_is_help=True
)

_Folder = Annotated[
    Path | None, typer.Option(help="Holds everything the service keeps; runs/service unless told otherwise.")
]
_Storage = Annotated[
    str | None,
    typer.Option(
        help="PostgreSQL for queue, tokens and trials: postgresql+psycopg://...; SQLite files otherwise."
    ),
]
_Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error, and the log.")]


def serve(
    folder: _Folder = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless told otherwise.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="8000 unless told otherwise; 0 is any free one.")] = None,
    storage: _Storage = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Where studies may train: cpu, cuda:0, ray:HOST:PORT, ...; repeat for more. One runs on each."
        ),
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path below which a proxy shows the service, such as /nas.")
    ] = None,
    https: Annotated[
        bool | None, typer.Option("--https", help="A proxy in front speaks HTTPS: cookies are for it alone.")
    ] = None,
    verbose: _Verbose = False,
) -> None:
    """Serve the web page and the API. Other settings are environment variables: see docs/service.md."""
    log_to_terminal(verbose)
    from nas.service.serving import serve as run_service
    from nas.service.settings import settings_from

    logging.getLogger("uvicorn").handlers.clear()
    settings = settings_from(
        folder=folder,
        host=host,
        port=port,
        storage=storage,
        devices=tuple(device) if device else None,
        https=https,
        root_path=root_path,
    )
    run_service(settings, print_line)


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Option(help="Whose it is, for the list.")],
    role: Annotated[str, typer.Option(help="read: look and download; run: also start and stop.")] = "run",
    days: Annotated[float | None, typer.Option(help="Until it expires; never unless told otherwise.")] = None,
    folder: _Folder = None,
    storage: _Storage = None,
    verbose: _Verbose = False,
) -> None:
    """Create a token and show it, once."""
    log_to_terminal(verbose)
    with _tokens(folder, storage, make=True) as tokens:
        _token, text = tokens.create(name, role, days)  # type: ignore[arg-type] # checked there
    print_line(text)


@token_app.command("list")
def list_tokens(folder: _Folder = None, storage: _Storage = None, verbose: _Verbose = False) -> None:
    """List the tokens; what they read is known to nobody."""
    log_to_terminal(verbose)
    with _tokens(folder, storage) as tokens:
        rows = [
            [t.id, t.name, t.role, _day(t.created), _day(t.expires), _day(t.revoked)] for t in tokens.list()
        ]
    print_table("tokens", Table(["id", "name", "role", "created", "expires", "revoked"], rows))


@token_app.command("revoke")
def revoke_token(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of the token: see 'nas token list'.")],
    folder: _Folder = None,
    storage: _Storage = None,
    verbose: _Verbose = False,
) -> None:
    """Revoke a token, and whatever was signed in with it; a running service turns it down at once."""
    log_to_terminal(verbose)
    with _tokens(folder, storage) as tokens:
        token = tokens.revoke(id_)
    console.print(f"revoked {token.id} ({token.name})", highlight=False)


def print_line(text: str) -> None:
    """Print a line as it is, for programs to read."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


@contextlib.contextmanager
def _tokens(folder: Path | None, storage: str | None, *, make: bool = False) -> Iterator[Tokens]:
    """Give the tokens of a service.

    Args:
        folder: Folder of the service; None for that of the settings.
        storage: Its PostgreSQL database, which needs no folder; None for that of the settings.
        make: Whether a folder that isn't there is made, and the user told.

    Raises:
        ServiceError: the folder isn't there or can't be made, or its database can't be read or written.
    """
    import sqlalchemy

    from nas.service.settings import settings_from
    from nas.service.store import Store
    from nas.service.tokens import Tokens

    settings = settings_from(folder=folder, storage=storage)
    if settings.storage is None:
        _check_folder(settings.folder, make)
    store = Store(settings.database_url)
    try:
        yield Tokens(store)
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = one_line(getattr(error, "orig", None) or error)
        where = settings.folder if settings.storage is None else "the database of --storage"
        raise ServiceError(
            f"the tokens of {where} can't be read or changed ({reason}): see that you may write there."
        ) from error
    finally:
        store.close()


def _check_folder(folder: Path, make: bool) -> None:
    if not make and not (folder / "service.db").exists():
        raise ServiceError(
            f"{folder} is no folder of a service (it has no service.db): name one with --folder, or make its first "
            "token with 'nas token create'."
        )
    if folder.exists():
        return
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ServiceError(
            f"{folder} can't be made ({error.strerror or error}): choose another --folder."
        ) from error
    tell_aside(f"made the folder {folder}")


def _day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
