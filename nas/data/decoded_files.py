"""Decoded items: in memory where they fit, otherwise in a file that is mapped into memory."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
import torch
from torch import Tensor

from nas.data.locations import cache_folder
from nas.errors import DamagedFileError, DataError
from nas.stored import read_stored, write_stored

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class _Facts:
    """What is stored beside decoded items."""

    shape: list[int]
    dtype: str
    note: Any


def in_memory(rows: Iterable[Tensor], count: int) -> Tensor:
    """Return rows as one tensor, without a second copy of the whole.

    Args:
        rows: Tensors of one shape, at least one.
        count: How many, at most.
    """
    stored = torch.empty(0)
    filled = 0
    for row in rows:
        if not filled:
            stored = torch.empty((count, *row.shape), dtype=row.dtype)
        stored[filled] = row
        filled += 1
    return stored[:filled]


def on_disk(rows: Iterable[Tensor], key: str | None, note: Callable[[], object]) -> Tensor:
    """Return rows as a tensor whose memory is a file in the cache folder.

    Args:
        rows: Tensors of one shape, at least one.
        key: The file's name, for :func:`find_stored`; None for a file that vanishes with the process.
        note: Called after the last row; plain values to be stored beside the file.

    Raises:
        DataError: the disk is full or can't be written.
    """
    folder = cache_folder()
    try:
        if key is None:
            with tempfile.TemporaryFile(dir=folder) as stream:  # the mapping keeps it alive
                return _map_file(stream, *_write(stream, rows))
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part") as part:
            shape, dtype = _write(part, rows)
            # Synced and then linked, so that after a power failure the name stands for the whole file or for none.
            os.fsync(part.fileno())
            (folder / f"{key}.bin").unlink(missing_ok=True)
            (folder / f"{key}.bin").hardlink_to(part.name)
        facts = {"shape": shape, "dtype": str(dtype).removeprefix("torch."), "note": note()}
        write_stored(folder / f"{key}.json", facts)
        return _map_file(folder / f"{key}.bin", shape, dtype)
    except OSError as error:
        raise DataError(
            f"decoded data can't be written to {folder} ({error.strerror or error}): free some space, name "
            "another folder in the environment variable NAS_CACHE, or allow more memory with memory_share=."
        ) from error


def find_stored(key: str) -> tuple[Tensor, Any] | None:
    """Return what :func:`on_disk` wrote under ``key``, and the note; None if nothing whole is there."""
    folder = cache_folder()
    content, description = folder / f"{key}.bin", folder / f"{key}.json"
    if not content.exists() or not description.exists():
        return None
    try:
        stated = read_stored(description, _Facts)
    except DamagedFileError:
        logger.warning("%s is damaged and is made again", description)
        return None
    dtype = getattr(torch, stated.dtype)
    if content.stat().st_size != math.prod(stated.shape) * dtype.itemsize:
        logger.warning("%s is not whole and is made again", content)
        return None
    return _map_file(content, stated.shape, dtype), stated.note


def _write(stream: IO[bytes] | Any, rows: Iterable[Tensor]) -> tuple[list[int], torch.dtype]:
    """Write rows one after the other: a plain write reports a full disk, a mapping would crash."""
    count, shape, dtype = 0, [0], torch.uint8
    for row in rows:
        stream.write(row.contiguous().numpy().data)
        count, shape, dtype = count + 1, list(row.shape), row.dtype
    stream.flush()
    return [count, *shape], dtype


def _map_file(content: Path | IO[bytes] | Any, shape: list[int], dtype: torch.dtype) -> Tensor:
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    # Copy-on-write, because torch takes writable memory only; nothing writes to it.
    return torch.from_numpy(np.memmap(content, dtype=kind, mode="c", shape=tuple(shape)))
