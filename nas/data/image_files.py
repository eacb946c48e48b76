"""Files of images in folders: finding them, and telling when one has changed."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from PIL import Image

from nas.errors import DataError

_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow recognises and leaves to other programs."""


def find_files(folder: Path) -> list[Path]:
    """Return all files below, in the order of folders and names; a folder that several links lead to counts once."""
    seen: set[str] = set()
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: (str(path.parent), path.name))


def _refuse(error: OSError) -> NoReturn:
    raise DataError(
        f"the folder {error.filename} can't be read ({error.strerror}): make it readable, or move it away."
    ) from error


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the endings of the names of files that Pillow decodes, in lower case."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in Image.OPEN and kind not in _NOT_DECODED)


def count_kinds(paths: Sequence[Path]) -> str:
    """Return how many files there are by ending, the most frequent first, and an example."""
    counts = collections.Counter(path.suffix.lower() or "without ending" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common()) + f" (such as {paths[0]})"


def files_key(root: Path, paths: Sequence[Path]) -> str:
    """Return what changes with names, sizes and times of files below ``root``."""
    stats = [path.stat() if path.exists() else path.lstat() for path in paths]
    names = [str(path.relative_to(root)) for path in paths]
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, stats, strict=True)]
    return f"{root.resolve()} {facts!r}"
