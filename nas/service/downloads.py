"""A winner's files, and zips of them that are made while they are sent."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import final

from nas.export.names import (
    ARCHITECTURE,
    CARD,
    PICTURES,
    VOCABULARY,
    WEIGHTS,
    variant_files,
)
from nas.report.results import Winner
from nas.runner.directory import RunDirectory
from nas.service.problems import Problem

_ALWAYS = (CARD, *PICTURES, ARCHITECTURE, VOCABULARY, WEIGHTS)
_CHUNK_BYTES = 256 * 1024


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


def zip_files(files: list[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield a zip piece by piece.

    Weights don't shrink, so nothing is compressed.

    Args:
        files: Name in the zip, and path.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    yield sink.take()
    yield sink.take()


@final
class _Sink:
    """Where a zip is written to that can't be rewound."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        """Return what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
