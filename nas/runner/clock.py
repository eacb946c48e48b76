"""How long a training took, over all attempts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import final

from nas.files import write_json
from nas.stored import read_stored


@final
class Clock:
    """Seconds per epoch, kept across attempts.

    Args:
        path: File that keeps them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds = read_stored(path, list[float]) if path.exists() else []
        self._last = time.perf_counter()

    def tick(self, epoch: int, *, keep: bool) -> None:
        """Note that an epoch, counted from 1, is done; write it down where this process is to."""
        now = time.perf_counter()
        self.seconds = [*self.seconds[: epoch - 1], now - self._last]
        self._last = now
        if keep:
            write_json(self._path, self.seconds)
