"""Where data lies on this machine: the two settings that a study file should not know."""

from __future__ import annotations

import os
from pathlib import Path

from nas.errors import DataError

DATA = "NAS_DATA"
"""Environment variable: the folder that holds data sets."""
CACHE = "NAS_CACHE"
"""Environment variable: the folder for decoded data that doesn't fit in memory. Default ~/.cache/nas."""


def data_root(root: str | Path | None, what: str) -> Path:
    """Return the folder of data sets: the argument, or else what ``NAS_DATA`` says.

    Args:
        root: What a study file says.
        what: The data that is looked for, for the message.

    Raises:
        DataError: neither is set.
    """
    stated = root if root is not None else os.environ.get(DATA)
    if not stated:
        raise DataError(
            f"where {what} lies is not known: name the folder of your data sets in the environment variable "
            f"{DATA}, or pass it as root=."
        )
    return Path(stated).expanduser()


def cache_folder() -> Path:
    """Return the folder for decoded data, made if it is missing.

    Raises:
        DataError: it can't be made.
    """
    folder = Path(os.environ.get(CACHE) or "~/.cache/nas").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} for decoded data can't be made ({error.strerror}): name another one in the "
            f"environment variable {CACHE}."
        ) from error
    return folder


def memory_bytes() -> int:
    """Return how much memory this process may use: the machine's, or its container's where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        stated = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return machine
    return min(machine, int(stated)) if stated.isdigit() else machine
