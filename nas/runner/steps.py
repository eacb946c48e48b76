"""Results of a run's steps, stored together with a digest of their inputs, so that no step is done twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, final

from nas.files import digest, make_damage_error
from nas.stored import FileDigest, StepResult
from nas.typed import MismatchError, read_as

logger = logging.getLogger(__name__)
T = TypeVar("T")


@final
class CachedStep:
    """A step of a run whose result is stored in a file.

    Args:
        path: Path of the file that keeps it.
        inputs: Plain values: what the result is made from.
        files: Names of the files that the step makes beside ``path``.
    """

    def __init__(self, path: Path, inputs: object, files: tuple[str, ...] = ()) -> None:
        self.path, self.files = path, files
        self._inputs = digest(inputs)

    def result(self, kind: type[T]) -> T | None:
        """Return what was stored as ``kind``; None if nothing was, or it was made from other inputs.

        Raises:
            DamagedFileError: the file is damaged.
            RunDirectoryError: it can't be read.
        """
        stored = self._read_stored()
        return None if stored is None else _as(kind, stored, self.path)

    def faults(self) -> dict[str, str]:
        """Return what is wrong with the files that were made with the result that is stored, by name."""
        stored = self._read_stored()
        return {} if stored is None else stored.faults(self.path.parent, self.files)

    def store(self, result: object) -> None:
        """Store a result, what it was made from, and the digests of the files."""
        StepResult(self._inputs, result, self._digests()).write(self.path)

    def _digests(self) -> dict[str, FileDigest]:
        return {name: FileDigest.of(self.path.parent / name) for name in self.files}

    def _read_stored(self) -> StepResult | None:
        if not self.path.exists():
            return None
        stored = StepResult.read(self.path)
        return stored if stored.inputs == self._inputs else None


def result_in(path: Path, kind: type[T]) -> T:
    """Return the result in a step's file, whatever it was made from.

    Raises:
        DamagedFileError: the file is damaged.
        RunDirectoryError: it can't be read.
    """
    return _as(kind, StepResult.read(path), path)


def _as(kind: type[T], stored: StepResult, path: Path) -> T:
    try:
        return read_as(kind, stored.result)
    except MismatchError as error:
        raise make_damage_error(path, f"its result: {error}") from error


def tell_remade(folder: Path, faults: Mapping[str, str]) -> None:
    """Say which files are made again, and why."""
    for name, fault in faults.items():
        logger.warning("%s %s and is made again", folder / name, fault)
