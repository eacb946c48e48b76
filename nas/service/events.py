"""Server-sent events of runs: one look at a run serves everybody who watches it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import final

from nas.service.models import NewTrial
from nas.service.runs import Runs, RunView, Snapshot, describe_front, describe_run, describe_trial
from nas.service.settings import Settings
from nas.service.store import OVER, Run, Store

logger = logging.getLogger(__name__)

_FIRST_LOG_BYTES = 8 * 1024  # some hundred lines; the API gives more
_MAX_LOG_BYTES = 64 * 1024  # read at once: a flood of lines follows in pieces, and fills no memory
_EVENT_ID = re.compile(r"(\d{1,9})-(\d{1,15})", re.ASCII)


@final
class Watch:
    """A run that somebody watches: what it is like now, and a bell for when that changes.

    Args:
        run: As stored.
        view: View of its directory.
        store: To see how its state changes.
    """

    def __init__(self, run: Run, view: RunView, store: Store) -> None:
        self.run, self._view, self._store, self.log = run, view, store, view.log
        self.snapshot, self.log_bytes = view.snapshot(max_age_s=0.0), _size(self.log)
        self.status = describe_run(run, self.snapshot).model_dump_json()
        self.front = describe_front(self.snapshot).model_dump_json()
        self.num_watching = 0
        self.changed = asyncio.Event()

    def look(self) -> bool:
        """Read the run again and return whether anything is new. Takes a moment: call it in a thread."""
        run = self._store.run(self.run.id) or self.run
        snapshot, log_bytes = self._view.snapshot(max_age_s=0.0), _size(self.log)
        if snapshot is self.snapshot and (run, log_bytes) == (self.run, self.log_bytes):
            return False
        if snapshot.front != self.snapshot.front:
            self.front = describe_front(snapshot).model_dump_json()
        self.run, self.snapshot, self.log_bytes = run, snapshot, log_bytes
        self.status = describe_run(run, snapshot).model_dump_json()
        return True

    def ring(self) -> None:
        """Wake everybody who waits for a change."""
        bell, self.changed = self.changed, asyncio.Event()
        bell.set()


@final
class Watches:
    """All runs that are watched, each by one task however many watch.

    Args:
        store: Store of the runs.
        runs: Their views.
        settings: How often to look, and to say so when there is nothing new; how many streams a token may have.
    """

    def __init__(self, store: Store, runs: Runs, settings: Settings) -> None:
        self._store, self._runs = store, runs
        self._refresh_s, self._keep_alive_s = settings.refresh_s, settings.keep_alive_s
        self.max_streams = settings.max_streams
        self.num_streams: Counter[str] = Counter()
        self._watches: dict[str, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_ending = False

    def end(self) -> None:
        """Let every stream end."""
        self.is_ending = True
        for watch in self._watches.values():
            watch.ring()

    async def stream(
        self, run: Run, after: int, last_id: str | None, token_id: str, is_welcome: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """Yield the events of a run until it is over.

        Args:
            run: As stored.
            after: Trials that the client has already; ``last_id`` goes before it.
            last_id: Id of the last event that the client got before its connection broke.
            token_id: Whose stream it is.
            is_welcome: Asked at every keep-alive; when no longer, the stream ends.
        """
        self.num_streams[token_id] += 1
        try:
            async with self._watching(run) as watch:
                async for piece in self._events(watch, after, last_id, is_welcome):
                    yield piece
        finally:
            self.num_streams[token_id] -= 1

    async def _events(
        self, watch: Watch, after: int, last_id: str | None, is_welcome: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        trials, log = _position(last_id, after, watch)
        status = front = ""
        yield b"retry: 2000\n\n"
        while not self.is_ending:
            bell = watch.changed  # before reading, so that no change is missed
            pieces, is_behind = [], False
            snapshot = watch.snapshot
            for position in range(trials, len(snapshot.rows)):
                trials = position + 1
                pieces.append(_event("trial", _trial_text(snapshot, position), f"{trials}-{log}"))
            if watch.front != front and snapshot.rows:
                front = watch.front
                pieces.append(_event("front", front, f"{trials}-{log}"))
            if watch.log_bytes > log:
                lines, log = await asyncio.to_thread(_lines, watch.log, log)
                if lines:
                    pieces.append(_event("log", json.dumps({"lines": lines}), f"{trials}-{log}"))
                    is_behind = watch.log_bytes > log
            if watch.status != status:
                status = watch.status
                pieces.append(_event("status", status, f"{trials}-{log}"))
            is_over = watch.run.state in OVER and not is_behind
            if is_over:
                pieces.append(_event("done", status, f"{trials}-{log}"))
            if pieces:
                yield b"".join(pieces)
            if is_over:
                return
            if is_behind:
                continue
            try:
                await asyncio.wait_for(bell.wait(), self._keep_alive_s)
            except TimeoutError:
                if not await asyncio.to_thread(is_welcome):
                    return
                yield b": still here\n\n"

    @contextlib.asynccontextmanager
    async def _watching(self, run: Run) -> AsyncIterator[Watch]:
        watch = self._watches.get(run.id)
        if watch is None:
            made = await asyncio.to_thread(Watch, run, self._runs.view(run), self._store)
            watch = self._watches.setdefault(run.id, made)
            if watch is made:
                task = asyncio.create_task(self._keep_looking(watch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        watch.num_watching += 1
        try:
            yield watch
        finally:
            watch.num_watching -= 1

    async def _keep_looking(self, watch: Watch) -> None:
        while not self.is_ending:
            await asyncio.sleep(self._refresh_s)
            if watch.num_watching == 0:
                break
            try:
                is_new = await asyncio.to_thread(watch.look)
            except Exception:
                logger.exception("the run %s can't be read; trying again", watch.run.id)
                continue
            if is_new:
                watch.ring()
        self._watches.pop(watch.run.id, None)


def _trial_text(snapshot: Snapshot, position: int) -> str:
    trial = describe_trial(snapshot, position)
    volume = snapshot.hypervolume[position] if position < len(snapshot.hypervolume) else None
    return NewTrial(**vars(trial), position=position, hypervolume=volume).model_dump_json()


def _position(last_id: str | None, after: int, watch: Watch) -> tuple[int, int]:
    """Return how many trials and how many bytes of the log a client has."""
    parts = _EVENT_ID.fullmatch(last_id or "")
    if parts is not None:
        return int(parts[1]), int(parts[2])
    return after, max(0, watch.log_bytes - _FIRST_LOG_BYTES)


def _lines(log: Path, begin: int) -> tuple[list[str], int]:
    """Return the whole lines of a log from byte ``begin`` on, and where they end."""
    with log.open("rb") as stream:
        stream.seek(begin)
        data = stream.read(_MAX_LOG_BYTES)
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) < _MAX_LOG_BYTES:
        return [], begin
    data = data[: end or None]
    return data.decode(errors="replace").splitlines(), begin + len(data)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _event(kind: str, data: str, id_: str) -> bytes:
    return f"event: {kind}\nid: {id_}\ndata: {data}\n\n".encode()
