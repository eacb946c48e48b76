"""What ``nas run | status | front | export | studies`` do with ``--server URL``."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import ServiceError
from nas.report.tables import front_table
from nas.terminal import console, print_table

if TYPE_CHECKING:
    from nas.service.client import Client


def start_run(client: Client, study: str, changes: Mapping[str, object]) -> None:
    """Queue a study and say how to watch it."""
    run = client.start(study, {k: v for k, v in changes.items() if v not in (None, [], {})})
    console.print(f"{run.id} is {run.state}; 'nas status {run.id} --server ...' shows how it goes.")


def print_status(client: Client, run_id: str) -> None:
    """Print how a run stands."""
    run = client.run(run_id)
    note = f", {run.note}" if run.note else ""
    stage = f", {run.stage}: {run.done} of {run.total}{note}" if run.total else ""
    left = f", about {run.seconds_left:.0f} s left in this stage" if run.seconds_left else ""
    console.print(f"{run.state}{stage}{left}", highlight=False, markup=False)
    console.print(f"{run.evaluations.complete} evaluated, {run.evaluations.failed} failed")
    if run.hypervolume is not None:
        console.print(f"hypervolume {run.hypervolume:.4f}")
    if run.last_words:
        console.print(run.last_words, highlight=False, markup=False)


def print_front(client: Client, run_id: str, as_json: bool) -> None:
    """Print the front so far, in the form of ``nas front``."""
    front = client.front(run_id)
    names = [objective.name for objective in front.objectives]
    values = [[trial.values[name].value for name in names] for trial in front.trials]
    if not as_json:
        members = [(t.number, t.architecture, v) for t, v in zip(front.trials, values, strict=True)]
        shown = front_table(tuple(front.objectives), members)
        print_table(f"front of {front.evaluations} evaluations", shown)
        return
    plain = [
        {
            "trial": trial.number,
            "architecture": trial.architecture,
            "choices": trial.choices,
            "values": dict(zip(names, measured, strict=True)),
        }
        for trial, measured in zip(front.trials, values, strict=True)
    ]
    _print_json(plain)


def print_studies(client: Client, as_json: bool) -> None:
    """Print the server's catalogue."""
    studies = client.studies()
    if as_json:
        _print_json([study.model_dump() for study in studies])
        return
    for study in studies:
        console.print(study.name)


def _print_json(plain: object) -> None:
    console.print(json.dumps(plain, indent=2), highlight=False, soft_wrap=True, markup=False)


def export(client: Client, run_id: str, to: Path) -> None:
    """Download the Pareto set and unpack it to ``to``, whole or not at all.

    Raises:
        ServiceError: ``to`` exists or can't be written, or what came is no proper zip.
    """
    if to.exists():
        raise ServiceError(f"{to} exists already: name a directory that doesn't.")
    partial, archive = to.with_name(f".{to.name}.part"), to.with_name(f".{to.name}.zip.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        client.download(run_id, archive)
        _unpack(archive, partial)
        partial.rename(to)
    except OSError as error:
        raise ServiceError(f"the models can't be written to {to} ({error}): choose another place.") from error
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
    models = [path for path in to.iterdir() if path.is_dir()]
    console.print(f"{len(models)} model{'' if len(models) == 1 else 's'} in {to}")


def _unpack(archive: Path, to: Path) -> None:
    """Unpack a zip whose names all stay below ``to``."""
    shutil.rmtree(to, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                parts = Path(name).parts
                if Path(name).is_absolute() or ".." in parts or "\\" in name:
                    raise ServiceError(
                        f"the server sent a zip with the name {name!r} in it: nothing was unpacked."
                    )
            opened.extractall(to)
    except zipfile.BadZipFile as error:
        raise ServiceError(f"what the server sent is no whole zip ({error}): try again.") from error
