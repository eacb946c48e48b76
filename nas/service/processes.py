"""The processes of runs: started, found again after the service died, stopped."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import final

import psutil

from nas.service.devices import Place
from nas.service.models import Changes
from nas.service.settings import child_environment
from nas.service.store import Run

LOG = "log.txt"
_MAX_LAST_WORDS = 4000  # characters: the database holds them
_LAST_LINES = 25  # a traceback of usual depth, and the sentence below it


def command_of(run: Run, directory: Path) -> list[str]:
    """Return the command line that carries out a run; the same one again resumes it.

    Nothing of a request is in it but numbers and names that were checked against the catalogue.
    """
    changes = Changes.model_validate(run.changes)
    numbers = {"evaluations": changes.evaluations, "seed": changes.seed}
    return [
        *(sys.executable, "-m", "nas", "run", run.study, "--out", str(directory)),
        *(f"--{flag}={value}" for flag, value in numbers.items() if value is not None),
        *Place.parse(run.device).flags(),  # the service's own default needs saying as well
        *(f"--objective={name}" for name in changes.objectives or ()),
        *(f"--constraint={name}={value!r}" for name, value in (changes.constraints or {}).items()),
        *(f"--prior={directory.parent / earlier}" for earlier in changes.prior or ()),
    ]


@final
class Process:
    """The process of a run: a child of ours, or one that an earlier service left behind.

    Args:
        process: To watch; the exit code of one that was left behind is unknown.
        log: Where it writes.
        log_begin: Bytes that the log held before it began.
    """

    def __init__(self, process: psutil.Process | psutil.Popen, log: Path, log_begin: int) -> None:
        self._process, self._log, self._log_begin = process, log, log_begin

    @classmethod
    def start(cls, command: list[str], directory: Path, storage: str | None) -> Process:
        """Start a run's process. It writes to a file and has a session of its own, so it outlives us.

        Args:
            command: See :func:`command_of`.
            directory: Directory of the run; made if it isn't there.
            storage: Database for its trials; None for a file in the directory.

        Raises:
            OSError: it can't be started.
        """
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / LOG
        with log.open("ab") as stream:
            begin = stream.tell()
            child = psutil.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=child_environment(storage),
            )
        return cls(child, log, begin)

    @classmethod
    def find(cls, directory: Path) -> Process | None:
        """Return the process that a service before this one started for a run directory, if it lives."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if _is_run_in(words, directory) and process.status() != psutil.STATUS_ZOMBIE:
                    return cls(process, directory / LOG, 0)
        return None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        if isinstance(self._process, psutil.Popen):
            return self._process.poll() is None
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    def exit_code(self) -> int | None:
        """Return the exit code of a process that ended; None for one that was left behind."""
        return self._process.returncode if isinstance(self._process, psutil.Popen) else None

    def stop(self) -> None:
        """Ask it to put things down and end."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.terminate()

    def kill(self) -> None:
        """End it and whatever it started; a run survives that."""
        if self._process.is_running():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        return tail(self._log, _LAST_LINES, self._log_begin)


def tail(log: Path, lines: int, begin: int = 0) -> str:
    """Return the last lines of a log, at most a few thousand characters, from byte ``begin`` on."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(begin, size - max(_MAX_LAST_WORDS, 200 * lines)))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _is_run_in(words: list[str], directory: Path) -> bool:
    pairs = itertools.pairwise(words)
    return words[1:4] == ["-m", "nas", "run"] and ("--out", str(directory)) in pairs
