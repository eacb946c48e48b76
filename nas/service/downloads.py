"""A winner's files, and zips of them that are made while they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zipstream import ZipStream

from nas.export.names import ARCHITECTURE, CARD, PICTURES, VOCABULARY, WEIGHTS, variant_files
from nas.report.results import Winner
from nas.runner.delivery import check_delivery
from nas.runner.directory import RunDirectory
from nas.service.problems import Problem

_ALWAYS = (CARD, *PICTURES, ARCHITECTURE, VOCABULARY, WEIGHTS)


def files_of(directory: RunDirectory, winner: Winner) -> list[Path]:
    """Return the files of a winner that are there: those a winner has, and no others.

    Names come from our own list and from the run's report, never from a request. A link is left out, and
    so is whatever lies outside the folder.
    """
    folder = directory.winners / winner.id
    files = [name for v in winner.variants if v.shipped for name in variant_files(v.name)]
    paths = [folder / name for name in dict.fromkeys([*_ALWAYS, *files])]
    return [p for p in paths if not p.is_symlink() and p.is_file() and p.resolve().parent == folder.resolve()]


def file_of(directory: RunDirectory, winner: Winner, name: str) -> Path:
    """Return one of a winner's files.

    Raises:
        Problem: it has none of that name (404).
    """
    found = next((path for path in files_of(directory, winner) if path.name == name), None)
    if found is None:
        raise Problem(404, "unknown-file", "The winner has no file of that name: see its files.")
    return found


def zip_winners(directory: RunDirectory, winners: Sequence[Winner]) -> ZipStream:
    """Return a zip of winners' folders that is made while it is sent, and knows its length before.

    Weights don't shrink, so nothing is compressed.

    Raises:
        DamagedFileError: a file was changed since it was made.
    """
    check_delivery(directory, [winner.id for winner in winners])
    archive = ZipStream(sized=True)
    for winner in winners:
        for path in files_of(directory, winner):
            archive.add_path(path, f"{winner.id}/{path.name}")
    return archive
