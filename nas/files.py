"""Files that are whole or absent, and digests of plain values."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.errors import DamagedFileError, RunDirectoryError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes the place of ``path`` in one step.

    Raises:
        RunDirectoryError: the disk is full, read-only, or can't be written.
    """
    # Not named after the process: on a shared disk another machine's may have its number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as stream:
            # Before the rename: after a power cut the new name must not stand for an empty file.
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunDirectoryError(
            f"{path} can't be written ({error.strerror or error}): free some space or choose another "
            "directory with --out, then run the same command again; finished work is kept."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: object) -> None:
    """Write plain values to ``path``, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the plain values in ``path``.

    Raises:
        DamagedFileError: the file is not JSON.
        RunDirectoryError: it can't be read.
    """
    content = _content(path)
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise make_damage_error(path, str(error)) from error


def make_damage_error(path: Path, reason: str) -> DamagedFileError:
    """Return what to tell a user of a file that a step made: what is wrong with it, and what to do."""
    return DamagedFileError(
        f"{path} is damaged ({reason}): restore it, or delete it and run the same command again; the step that made "
        "it is repeated."
    )


def digest(content: object) -> str:
    """Return a short, stable digest of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        RunDirectoryError: it can't be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} can't be read ({error.strerror or error}): make it a file that may be read, or take it away and run "
        "the same command again; the step that made it is repeated."
    )
