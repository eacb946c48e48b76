"""``nas export``."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path
from typing import Annotated

import typer

from nas.commands import remote
from nas.commands.options import (
    RunPath,
    Server,
    Verbose,
    client_of,
    existing_run,
    read_finished,
    refuse_local_only,
)
from nas.errors import RunDirectoryError
from nas.export.names import variant_files
from nas.report.results import Winner
from nas.terminal import console, log_to_terminal


def export(
    path: RunPath,
    to: Annotated[Path, typer.Option(help="Directory to make; must not exist.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Also winners that another one dominates.")
    ] = False,
    server: Server = None,
    verbose: Verbose = False,
) -> None:
    """Copy the Pareto set, with its model cards, to a directory of its own."""
    log_to_terminal(verbose)
    if server is not None:
        refuse_local_only(all=everything or None)
        with client_of(server) as client:
            remote.export(client, str(path), to)
        return
    from nas.runner.delivery import check_delivery
    from nas.runner.directory import RunDirectory

    directory = RunDirectory(existing_run(path))
    results = read_finished(path, directory)
    if to.exists():
        raise RunDirectoryError(f"{to} exists already: name a directory that doesn't.")
    chosen = [w for w in results.winners if everything or any(v.on_front for v in w.variants)]
    ids = [winner.id for winner in chosen]
    check_delivery(directory, ids)
    try:
        _copy_winners(directory.winners, chosen, to)
    except OSError as error:
        raise RunDirectoryError(
            f"the models can't be copied to {to} ({error}): choose another place, or run the study again if a "
            "winner's folder is gone."
        ) from error
    console.print(f"{len(ids)} model{'' if len(ids) == 1 else 's'} in {to}")


def _copy_winners(winners: Path, chosen: list[Winner], to: Path) -> None:
    """Make ``to`` whole or not at all.

    Variants that aren't shipped stay behind, and those of an earlier run that the study makes no more.
    """
    partial = to.with_name(f".{to.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for winner in chosen:
            folder = winners / winner.id
            shipped = {name for v in winner.variants if v.shipped for name in variant_files(v.name)}
            withheld = {path.name for path in folder.glob("model.*")} - shipped
            ignored = shutil.ignore_patterns("finished*.json", *map(glob.escape, withheld))
            shutil.copytree(folder, partial / winner.id, ignore=ignored)
        shutil.copy(winners / "README.md", partial / "README.md")
        partial.rename(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
