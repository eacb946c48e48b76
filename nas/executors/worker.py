"""What a worker's process does, on any executor: it sets itself up, makes its workplace, and runs jobs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from nas.executors.executor import MakeWorkplace, Work
from nas.executors.messages import Begun, Fault, Said, Value, message_bytes, pack, unpack

logger = logging.getLogger(__name__)

Send = Callable[[bytes], None]
"""Takes the bytes of a :class:`nas.executors.messages.Said` at any time, from any thread."""


@final
@dataclass(frozen=True)
class Origin:
    """What other processes must take over from the process that started the run.

    Args:
        folder: Its working directory, so that relative paths mean the same.
        paths: Folders from which it imports code.
        level: Level from which log lines are sent to it.
    """

    folder: str
    paths: tuple[str, ...]
    level: int

    @classmethod
    def here(cls) -> Origin:
        """Return the description of this process."""
        return cls(os.getcwd(), tuple(sys.path), logging.getLogger("nas").getEffectiveLevel())

    def set_up_process(self, send: Send) -> None:
        """Set this process up like the origin, and send what it logs there, since it has no terminal of its own."""
        with contextlib.suppress(OSError):  # where the folder isn't there, whatever needs it says so
            os.chdir(self.folder)
        sys.path += [path for path in self.paths if path not in sys.path]
        logging.root.setLevel(self.level)
        logging.root.addHandler(_Telling(send))


@final
@dataclass(frozen=True)
class Beginning:
    """What a worker needs to make its workplace.

    Args:
        make_workplace: Makes it; pickled.
        origin: The process that sends it jobs.
    """

    make_workplace: bytes
    origin: Origin

    @classmethod
    def of(cls, make_workplace: MakeWorkplace[Any]) -> Beginning:
        """Return this for workers that this process starts.

        Raises:
            WorkerError: it can't be pickled.
        """
        return cls(pack(make_workplace, "what workers begin with"), Origin.here())


@final
class Workbench:
    """Runs jobs at a worker's workplace; jobs and outcomes are bytes.

    Args:
        beginning: Makes the workplace.
        send: Called with every line that is logged.
    """

    def __init__(self, beginning: Beginning, send: Send) -> None:
        self._make_workplace = beginning.make_workplace
        self._workplace: object = None
        beginning.origin.set_up_process(send)

    def begin(self) -> bytes:
        """Make the workplace, and return a :class:`Begun` or :class:`Fault`."""
        try:
            self._workplace = unpack(self._make_workplace)()
            return message_bytes(Begun())
        except BaseException as error:  # of a user's code too
            return message_bytes(Fault.of(error, at_begin=True))

    def do(self, work: bytes) -> bytes:
        """Run a job, and return its :class:`Value` or :class:`Fault`."""
        return run_sent_job(work, self._workplace)


@final
class Outbox:
    """A thread-safe queue of messages, all of which are fetched at once."""

    def __init__(self) -> None:
        self._messages = deque[bytes]()

    def put(self, message: bytes) -> None:
        """Add a message."""
        self._messages.append(message)

    def take(self) -> list[bytes]:
        """Return and remove all messages."""
        # One by one: what comes between a copy of all and their removal would be lost.
        return [self._messages.popleft() for _ in range(len(self._messages))]


def run_sent_job(work: bytes, workplace: object) -> bytes:
    """Run a job that was sent here, and return its :class:`Value` or :class:`Fault` as bytes."""
    try:
        job: Work[object] = unpack(work)
        return pack(Value(job(workplace)), "what came out of a job")
    except BaseException as error:  # SystemExit of a user's code too
        logger.debug("a job failed", exc_info=True)
        return message_bytes(Fault.of(error))


class _Telling(logging.Handler):
    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log line; if nobody receives it any more, this process is about to end anyway."""
        try:
            said = message_bytes(Said(record.name, record.levelno, self.format(record)))
        except Exception:  # whoever logged gave other arguments than the text has places for
            self.handleError(record)
            return
        with contextlib.suppress(OSError):
            self._send(said)
