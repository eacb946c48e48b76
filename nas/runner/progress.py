"""Progress that other processes can read, and progress that nobody watches."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from nas.files import write_json
from nas.protocols import Progress


@final
class StatusFile:
    """Progress that other processes can read: ``status.json``; passes everything on.

    Args:
        path: Of the file.
        listener: What else listens.
    """

    def __init__(self, path: Path, listener: Progress) -> None:
        self._path = path
        self._listener = listener
        self._state: dict[str, Any] = {}

    def start(self, stage: str, total: int, done: int) -> None:
        """Note that a stage begins."""
        now = time.time()
        self._state = {
            "stage": stage,
            "total": total,
            "done": done,
            "resumed_at": done,
            "note": "",
            "began": now,
            "updated": now,
        }
        write_json(self._path, self._state)
        self._listener.start(stage, total, done)

    def advance(self, note: str) -> None:
        """Note that a step is done."""
        self._state |= {"done": self._state["done"] + 1, "note": note, "updated": time.time()}
        write_json(self._path, self._state)
        self._listener.advance(note)

    def say(self, sentence: str) -> None:
        """Pass it on."""
        self._listener.say(sentence)


def seconds_left(status: Mapping[str, Any]) -> float | None:
    """Return how long the stage of a :class:`StatusFile` will take at its pace so far; None while none can be told."""
    steps = status.get("done", 0) - status.get("resumed_at", 0)
    if steps <= 0:
        return None
    pace = (status["updated"] - status["began"]) / steps
    return float(round(pace * (status["total"] - status["done"]), 1))


@final
class Silent:
    """Progress that nobody watches."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Ignore."""

    def advance(self, note: str) -> None:
        """Ignore."""

    def say(self, sentence: str) -> None:
        """Ignore."""
