"""What several commands take and do."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.errors import RunDirectoryError, ServiceError, StudyError
from nas.progress import DEFAULT_DEVICE
from nas.report.results import Results
from nas.terminal import console

if TYPE_CHECKING:
    from nas.runner.directory import RunDirectory
    from nas.service.client import Client

Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error, and the log.")]
StudyName = Annotated[str, typer.Argument(help="Name of a study, or a Python file that defines study().")]
TrainingDevice = Annotated[
    str | None,
    typer.Option(
        "--training-device",
        "--device",
        help=f"Where to train and to evaluate: cpu, cuda, ...; {DEFAULT_DEVICE} unless told otherwise.",
    ),
]
Objective = Annotated[
    list[str] | None,
    typer.Option(help="Keep this objective of the study's; repeat for more. All unless told otherwise."),
]
Constraint = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VALUE: at most so much of a quantity; a hard limit where it is counted. Repeat for more."
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="NAS_STORAGE",
        show_envvar=True,
        help="A PostgreSQL database for the trials: postgresql+psycopg://user@host/database. "
        "An SQLite file in the run directory unless told otherwise.",
    ),
]
RunPath = Annotated[
    Path, typer.Argument(help="A run directory, for example runs/digits; with --server, the name of a run.")
]
Server = Annotated[
    str | None,
    typer.Option(help="Address of a service to do it, with the token in the environment variable NAS_TOKEN."),
]


def say(sentence: str) -> None:
    """Print a sentence as it is."""
    console.print(sentence, highlight=False, soft_wrap=True)


def read_finished(path: Path, directory: RunDirectory) -> Results:
    """Return what a finished run found."""
    if not directory.results.exists():
        raise RunDirectoryError(f"{path} has no finished winners yet: run its study to the end first.")
    return Results.read(directory.results)


def client_of(server: str) -> contextlib.closing[Client]:
    """Return a client of the service at an address, to be closed."""
    from nas.service.client import Client

    return contextlib.closing(Client(server))


def refuse_local_only(**options: object) -> None:
    """Refuse options, by name, that a service doesn't know: those that are not None."""
    for name, value in options.items():
        if value is not None:
            raise ServiceError(
                f"--{name.replace('_', '-')} is for runs of this machine: leave it out with --server."
            )


def read_limits(constraints: list[str], option: str = "--constraint") -> dict[str, float]:
    """Read ``NAME=VALUE`` of the command line."""
    limits = {}
    for text in constraints:
        name, equals, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise StudyError(f"{option} is {text!r}: write NAME=VALUE with a number, such as macs=2e6.")
        if name.strip() in limits:
            raise StudyError(f"{option} limits {name.strip()!r} twice: leave one of them out.")
        limits[name.strip()] = number
    return limits


def existing_run(path: Path) -> Path:
    """Return a path that is a run directory."""
    if not (path / "run.json").exists():
        raise RunDirectoryError(
            f"{path} is no run directory: name one that 'nas run' made, such as runs/digits."
        )
    return path


def import_from_here() -> None:
    """Let packages in the current folder be imported, as ``python -m nas`` does and ``nas`` wouldn't."""
    with contextlib.suppress(FileNotFoundError):  # a folder that was deleted holds no packages
        here = os.getcwd()
        if not sys.flags.safe_path and here not in sys.path:
            sys.path.insert(0, here)
