"""Runs under supervision: one process per device, a queue, restarts after crashes."""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import JsonValue

from nas.errors import NasError
from nas.progress import DONE
from nas.runner.directory import RunDirectory
from nas.service.problems import Problem
from nas.service.processes import Process, command_of
from nas.service.settings import Settings
from nas.service.store import OVER, Action, Run, State, Store

logger = logging.getLogger(__name__)

_TICK_S = 0.25  # a device waits no longer for its next run, and a look costs microseconds
_AFTER_FAILURE_S = 5.0  # a database that was locked or away is not asked four times a second
_PATIENCE_S = 1.5  # after the last process was killed: some looks, to see that it is gone
_MISTAKE = 2  # exit code of the command line for what a user can put right
_STOPPED = (130, 143, -2, -15)  # Ctrl-C and SIGTERM, as the command line and as the system tell of them

_STRANGE = re.compile(r"[^A-Za-z0-9_-]")

_ACTIONS: dict[Action, tuple[str, State, tuple[State, ...]]] = {
    "pause": ("paused", "paused", ("queued", "running")),
    "cancel": ("cancelled", "cancelled", ("queued", "running", "paused", "failed")),
    "resume": ("resumed", "queued", ("paused", "failed")),
}
"""What may be done: its past participle, what a run becomes by it, and the states that it goes with."""

_UNTRIED = {"intent": None, "restarts": 0, "not_before": 0.0, "last_words": None, "finished": None}
"""What a resumed run is as good as new in: what went wrong before counts for nothing."""


@dataclass
class _Running:
    run_id: str
    device: str
    child: Process
    kill_at: float | None = None


@final
class Supervisor:
    """Carries out the runs of a store.

    All that matters is in the database before it happens, so another service can go on after this one was
    killed: runs that were running are found by their command line and watched further, or begun again
    from their checkpoints.

    Args:
        store: The queue.
        settings: Devices, restarts, folder.
        start: Starts the process of a run in a directory, with a database for its trials or None.
        find: Returns the process that an earlier service left there.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        start: Callable[[list[str], Path, str | None], Process] = Process.start,
        find: Callable[[Path], Process | None] = Process.find,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._settings = store, settings
        self._start, self._find, self._now = start, find, now
        self._running: dict[str, _Running] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def directory(self, run_id: str) -> Path:
        """Return the run directory of a run that is in the store."""
        return self._settings.runs / run_id

    def begin(self) -> None:
        """Take up what an earlier service left, and supervise in a thread until :meth:`end`."""
        self.take_up()
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop all processes, for another service to go on with their runs."""
        with self._lock:
            self._ending = True
            for running in self._running.values():
                self._ask_to_stop(running)
        self._wake.set()
        if self._thread is not None:
            self._thread.join(self._settings.grace_s + _PATIENCE_S)

    def take_up(self) -> None:
        """Watch the processes that still run; put the other unfinished runs where they belong."""
        with self._lock:
            for run in self._store.runs_in(["running"]):
                child = self._find(self.directory(run.id))
                if child is not None:
                    self._running[run.id] = _Running(run.id, run.device, child)
                    if run.intent is not None:
                        self._ask_to_stop(self._running[run.id])
                elif self._is_done(run.id):
                    self._rest(run.id, "finished")
                elif run.intent is not None:
                    self._rest(run.id, run.intent)
                else:
                    self._store.change_run(run.id, state="queued")

    def submit(
        self, study: str, changes: Mapping[str, JsonValue], *, evaluations: int, device: str, token_id: str
    ) -> Run:
        """Put a study at the end of the queue. Everything must have been checked."""
        # A file may be named as it likes, and the run's name is part of addresses, of headers and of a path.
        id_, now = f"{_STRANGE.sub('_', study)}-{secrets.token_hex(4)}", self._now()
        run = Run(id_, study, dict(changes), evaluations, device, token_id, "queued", now)
        self._store.add_run(run)
        self._wake.set()
        return run

    def act(self, run: Run, action: Action) -> Run:
        """Pause a run, cancel it for good, or resume it at its old place in the queue; its files stay.

        Raises:
            Problem: its state doesn't allow that, or it is still stopping (409).
        """
        past, state, allowed = _ACTIONS[action]
        with self._lock:
            run = self._read(run.id)
            if run.state not in allowed:
                raise Problem(
                    409,
                    "wrong-state",
                    f"The run {run.id} is {run.state} and can't be {past}: that goes with one that is "
                    f"{' or '.join(allowed)}.",
                    more={"state": run.state},
                )
            running = self._running.get(run.id)
            if action == "resume":
                self._store.change_run(run.id, state=state, **_UNTRIED)
            elif running is None:
                self._rest(run.id, state, run.last_words)
            else:
                self._store.change_run(run.id, intent=state)
                self._ask_to_stop(running)
            self._wake.set()
            return self._read(run.id)

    def step(self) -> None:
        """Look at every process once, and start what can start."""
        with self._lock:
            for running in list(self._running.values()):
                if not running.child.is_alive():
                    self._end_run(running)  # first: it is tried again if the database can't be written
                    del self._running[running.run_id]
                elif running.kill_at is not None and self._now() >= running.kill_at:
                    running.child.kill()
            if not self._ending:
                self._start_queued()

    def _loop(self) -> None:
        while True:
            wait = _TICK_S
            try:
                self.step()
            except Exception:
                logger.exception("supervision failed; trying again in %s s", _AFTER_FAILURE_S)
                wait = _AFTER_FAILURE_S
            with self._lock:
                if self._ending and not self._running:
                    return
            self._wake.wait(wait)
            self._wake.clear()

    def _start_queued(self) -> None:
        busy = {running.device for running in self._running.values()}
        for run in self._store.runs_in(["queued"]):
            if run.device in busy or run.not_before > self._now():
                continue
            if run.device not in self._settings.devices:
                self._rest(run.id, "failed", f"This service has no device {run.device} any more.")
                continue
            busy.add(run.device)
            self._launch(run)

    def _launch(self, run: Run) -> None:
        directory = self.directory(run.id)
        self._store.change_run(
            run.id, state="running", started=run.started or self._now(), intent=None, last_words=None
        )
        try:
            child = self._start(command_of(run, directory), directory, self._settings.storage)
        except OSError as error:
            self._rest(run.id, "failed", f"The run can't be started: {error.strerror or error}.")
            return
        self._running[run.id] = _Running(run.id, run.device, child)

    def _end_run(self, running: _Running) -> None:
        run = self._read(running.run_id)
        code = running.child.exit_code()
        if code == 0 or (code is None and self._is_done(run.id)):
            self._rest(run.id, "finished")
        elif run.intent is not None:
            self._rest(run.id, run.intent)
        elif self._ending:
            pass  # it stays running in the database, for the next service to take up
        elif code in _STOPPED:
            self._rest(run.id, "paused", "The run was stopped from outside the service.")
        elif code == _MISTAKE:
            self._rest(run.id, "failed", running.child.last_words())
        else:
            self._note_crash(run, running.child.last_words(), code)

    def _note_crash(self, run: Run, words: str, code: int | None) -> None:
        logger.warning("run %s crashed (exit code %s)", run.id, code)
        if run.restarts >= self._settings.restarts:
            self._rest(run.id, "failed", words)
            return
        begin = self._now() + self._settings.restart_after_s * 2**run.restarts
        self._store.change_run(
            run.id, state="queued", restarts=run.restarts + 1, not_before=begin, last_words=words
        )

    def _ask_to_stop(self, running: _Running) -> None:
        running.child.stop()
        running.kill_at = self._now() + self._settings.grace_s

    def _rest(self, run_id: str, state: State, words: str | None = None) -> None:
        finished = self._now() if state in OVER else None
        self._store.change_run(run_id, state=state, intent=None, last_words=words, finished=finished)

    def _is_done(self, run_id: str) -> bool:
        try:
            return RunDirectory(self.directory(run_id)).read_status().stage == DONE
        except NasError:
            return False

    def _read(self, run_id: str) -> Run:
        run = self._store.run(run_id)
        assert run is not None
        return run
