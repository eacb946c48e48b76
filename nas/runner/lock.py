"""A lock that lets only one process at a time run in a directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import RunDirectoryError

_LOOK_S = 0.2
"""For so long a run waits for its lock: who only looks whether it is held has it for a moment."""


@contextlib.contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Within, no other process runs in a directory, which is made where it isn't there.

    The system frees the lock when the process dies, however it dies, so that a killed run can go on.

    Raises:
        RunDirectoryError: another process runs there, or the directory can't be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        lock.acquire(timeout=_LOOK_S)
    except Timeout:
        raise RunDirectoryError(
            f"another process is running in {path}: wait for it, stop it, or choose another "
            "directory with --out."
        ) from None
    except OSError as error:
        raise RunDirectoryError(
            f"{path} can't be written ({error.strerror or error}): choose another directory with --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process runs in a directory; True also where nobody may try, as on a medium that can't be written."""
    if not (path / ".lock").exists():
        return False
    try:
        with FileLock(path / ".lock").acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True
