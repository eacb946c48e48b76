"""The processor's memory that one step leaves to the next."""

from __future__ import annotations

import ctypes
import functools
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""Numbers of glibc's settings, from its ``malloc.h``: how many blocks are mapped on their own; from how many free bytes
at its end the heap is cut."""
_MOST = 2**31 - 1
"""Bytes: the largest number that a setting takes."""


def keep_freed_memory() -> None:
    """Let the C library keep the memory that tensors leave free, for the whole process and from now on.

    glibc maps each block of more than 32 MiB on its own and gives it back once it is free. Every pass through a network
    with activations that large then begins with fresh pages, which the kernel clears one by one: up to a third of the
    time of a training and more of an evaluation (``benchmarks/kept_memory.py``). Other C libraries stay as they are.
    """
    library = _find_glibc()
    if library is not None:
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, _MOST)


def return_freed_memory() -> None:
    """Give the system back what is free."""
    library = _find_glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.cache
def _find_glibc() -> ctypes.CDLL | None:
    """Return the C library, where it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
