"""The run directory: where everything lies, who may write, and what it was made with."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import optuna
from filelock import FileLock, Timeout

from nas.errors import RunDirectoryError, StudyChangedError
from nas.files import digest, read_json, write_json
from nas.objective import Objective
from nas.protocols import Progress
from nas.search.storage import open_study


@final
class RunDirectory:
    """Paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "run.json"
        self.status = path / "status.json"
        self.database = path / "study.db"
        self.supernet = path / "supernet"
        self.candidates = path / "candidates"
        self.proxy = path / "proxy.json"
        self.winners = path / "winners"
        self.trust = path / "trust"
        self.baselines = path / "baselines"
        self.results = path / "report.json"
        self.report = path / "report.md"
        self.front = path / "front.png"
        self.hypervolume = path / "hypervolume.png"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from running in this directory.

        Raises:
            RunDirectoryError: another process does, or the directory can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise RunDirectoryError(
                f"another process is running in {self.path}: wait for it, stop it, or choose another "
                "directory with --out."
            ) from None
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path} can't be written ({error.strerror or error}): choose another directory with --out."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def claim(self, description: Mapping[str, Any]) -> None:
        """Store what the run is made with, or compare with what it was made with.

        Args:
            description: Plain values by aspect: space, data, objectives, and so on.

        Raises:
            StudyChangedError: an aspect differs.
        """
        if not self.manifest.exists():
            write_json(self.manifest, description)
            return
        stored = read_json(self.manifest)
        changed = [aspect for aspect in description if stored.get(aspect) != description[aspect]]
        if changed:
            details = "; ".join(_difference(a, stored.get(a), description[a]) for a in changed)
            raise StudyChangedError(
                f"the study no longer matches what {self.path} was made with: {details}. Undo the change, or "
                "run in another directory with --out; nothing here was touched."
            )


def open_record(manifest: Path, database: Path) -> tuple[optuna.Study, tuple[Objective, ...]]:
    """Open a run's Optuna study to read it, from any process, and tell its objectives.

    Raises:
        RunDirectoryError: the search hasn't begun.
    """
    if not database.exists():
        raise RunDirectoryError(f"{database} isn't there: the search hasn't begun.")
    stored = read_json(manifest)
    objectives = tuple(Objective(**values) for values in stored["values"])
    return open_study(database, stored["study"], objectives, None), objectives


def _difference(aspect: str, before: object, after: object) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        if keys and keys != list(before):
            inner = "; ".join(
                _difference(f"{aspect} {key!r}", before.get(key), after.get(key)) for key in keys[:3]
            )
            return inner + (f"; and {len(keys) - 3} more" if len(keys) > 3 else "")
    return f"{aspect} was {_short(before)} and is now {_short(after)}"


def _short(value: object, limit: int = 160) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def finished(path: Path, inputs: object) -> Any | None:
    """Return the result that a step stored in ``path`` if it was made from the same ``inputs``."""
    if not path.exists():
        return None
    stored = read_json(path)
    return stored["result"] if stored["inputs"] == digest(inputs) else None


def finish(path: Path, inputs: object, result: object) -> None:
    """Store the result of a step and what it was made from."""
    write_json(path, {"inputs": digest(inputs), "result": result})


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


@final
class Silent:
    """Progress that nobody watches."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Ignore."""

    def advance(self, note: str) -> None:
        """Ignore."""

    def say(self, sentence: str) -> None:
        """Ignore."""
