"""A listener that writes progress to a file for other processes, and one that ignores it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from nas.progress import Progress
from nas.stored import write_stored


@final
@dataclass(frozen=True)
class Status:
    """How far a run is.

    Args:
        stage: Under way.
        total: Steps of it.
        done: Steps that are done.
        resumed_at: Steps that were done when it began this time.
        note: A few words about the last step.
        began: When it began this time, in seconds since 1970.
        updated: When its last step was done.
    """

    stage: str
    total: int = 0
    done: int = 0
    resumed_at: int = 0
    note: str = ""
    began: float = 0.0
    updated: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the stage will take at its pace so far; None while none can be told."""
        steps = self.done - self.resumed_at
        if steps <= 0 or self.updated < self.began:  # the clock was set back
            return None
        return round((self.updated - self.began) / steps * (self.total - self.done), 1)


@final
class StatusFile:
    """Writes progress to ``status.json``, which other processes can read, and passes it on to another listener.

    Args:
        path: Path of the file.
        listener: What else listens.
    """

    def __init__(self, path: Path, listener: Progress) -> None:
        self._path = path
        self._listener = listener
        self._state = Status("")

    def start(self, stage: str, total: int, done: int) -> None:
        """Note that a stage begins."""
        now = time.time()
        self._write(Status(stage, total, done, resumed_at=done, began=now, updated=now))
        self._listener.start(stage, total, done)

    def advance(self, note: str) -> None:
        """Note that a step is done."""
        self._write(replace(self._state, done=self._state.done + 1, note=note, updated=time.time()))
        self._listener.advance(note)

    def say(self, sentence: str) -> None:
        """Pass it on."""
        self._listener.say(sentence)

    def _write(self, state: Status) -> None:
        self._state = state
        write_stored(self._path, asdict(state))


@final
class Silent:
    """A listener that ignores everything."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Ignore."""

    def advance(self, note: str) -> None:
        """Ignore."""

    def say(self, sentence: str) -> None:
        """Ignore."""
