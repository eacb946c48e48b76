"""Plain values that a run keeps in files, and the files that they name: both can be told from damaged ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from nas.files import digest, file_digest, make_damage_error, read_json, write_json
from nas.typed import MismatchError, read_as

T = TypeVar("T")
DIGEST = "digest"
"""Key of the digest of all else in a file. Older files, and what a person writes, may do without."""


def write_stored(path: Path, content: Mapping[str, object]) -> None:
    """Write plain values and their digest to ``path``, whole or not at all."""
    plain = json.loads(json.dumps(content))  # as it will be read
    write_json(path, {**plain, DIGEST: digest(plain)})


def read_stored(path: Path, kind: type[T]) -> T:
    """Return what :func:`write_stored` wrote as ``kind``, see :func:`nas.typed.read_as`.

    Raises:
        DamagedFileError: it isn't JSON, is something else, or doesn't match its digest.
        RunDirectoryError: it can't be read.
    """
    content = read_json(path)
    try:
        _check_digest(content)
        return read_as(kind, content)
    except MismatchError as error:
        raise make_damage_error(path, str(error)) from error


def _check_digest(content: object) -> None:
    if not isinstance(content, dict) or DIGEST not in content:
        return
    rest = {key: value for key, value in content.items() if key != DIGEST}
    if content[DIGEST] != digest(rest):
        raise MismatchError(
            f"doesn't match its own digest; who changed it by hand takes {DIGEST!r} out of it"
        )


def to_json(value: object) -> Any:
    """Return a value as JSON of which :func:`of_json` makes an equal one of the same type.

    An array is a list, and an object has one key, which says what its value stands for: ``{"tuple": [1, 2]}``.

    Args:
        value: A number, string or None, or a list, tuple or dictionary with strings as keys of such values.

    Raises:
        TypeError: it is something else.
    """
    if type(value) is list:
        return [to_json(entry) for entry in value]
    if type(value) is tuple:
        return {"tuple": [to_json(entry) for entry in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: to_json(entry) for key, entry in value.items()}}
    if isinstance(value, int | float | str | bool | None):
        return value
    raise TypeError(f"{value!r} can't be told in JSON")


def of_json(stored: Any) -> Any:
    """Return what :func:`to_json` was given.

    Raises:
        MismatchError: it is something else than that makes.
    """
    if isinstance(stored, list):
        return [of_json(entry) for entry in stored]
    match stored:
        case {"tuple": list(entries), **rest} if not rest:
            return tuple(of_json(entry) for entry in entries)
        case {"dict": dict(entries), **rest} if not rest:
            return {key: of_json(entry) for key, entry in entries.items()}
        case dict():
            raise MismatchError(f"{stored} is neither a tuple nor a dictionary")
    return stored


@final
@dataclass(frozen=True)
class FileDigest:
    """Tells a file's content from any other.

    Args:
        sha256: In hexadecimal.
        bytes: Size of the file.
    """

    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path) -> FileDigest:
        """Return that of a file.

        Raises:
            RunDirectoryError: it can't be read.
        """
        return cls(file_digest(path), path.stat().st_size)


@final
@dataclass(frozen=True)
class StepResult:
    """The result of a step in its file.

    Args:
        inputs: Digest of what it was made from.
        result: Plain values.
        files: Digests of the files that the step made, by their path from the folder of its own.
    """

    inputs: str
    result: Any
    files: Mapping[str, FileDigest]

    @classmethod
    def read(cls, path: Path) -> StepResult:
        """Return what is in ``path``.

        Raises:
            DamagedFileError: the file is damaged.
            RunDirectoryError: it can't be read.
        """
        return read_stored(path, cls)

    def write(self, path: Path) -> None:
        """Write to ``path``, whole or not at all."""
        write_stored(path, asdict(self))

    def faults(self, folder: Path, names: Iterable[str] = ()) -> dict[str, str]:
        """Return what is wrong with its files in ``folder``, and with others that must be there, by name."""
        return {
            name: fault
            for name in dict.fromkeys([*self.files, *names])
            if (fault := fault_of(folder / name, self.files.get(name))) is not None
        }


def fault_of(path: Path, known: FileDigest | None) -> str | None:
    """Return what is wrong with a file, None if nothing is; without a digest it need only be there.

    Raises:
        RunDirectoryError: it can't be read.
    """
    if not path.exists():
        return "is missing"
    if not path.is_file():
        return "is no file"
    if known is None or (path.stat().st_size == known.bytes and file_digest(path) == known.sha256):
        return None
    return "doesn't match its digest"
