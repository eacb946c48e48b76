"""What a worker's process does, however it is reached: it settles in, makes its workplace, and does jobs."""

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
    """The process that a run was begun in, as far as its other processes must be like it.

    Args:
        folder: Its working directory, which relative paths are of.
        paths: Where it imports code from.
        level: Level of what is to be logged, which is told to it.
    """

    folder: str
    paths: tuple[str, ...]
    level: int

    @classmethod
    def here(cls) -> Origin:
        """Return what other processes must know of this one."""
        return cls(os.getcwd(), tuple(sys.path), logging.getLogger("nas").getEffectiveLevel())

    def settle(self, send: Send) -> None:
        """Let this process find the same code and files, and send what it logs: it has no terminal of its own."""
        with contextlib.suppress(OSError):  # where the folder isn't there, whatever needs it says so
            os.chdir(self.folder)
        sys.path += [path for path in self.paths if path not in sys.path]
        logging.root.setLevel(self.level)
        logging.root.addHandler(_Telling(send))


@final
@dataclass(frozen=True)
class Beginning:
    """What a worker begins with.

    Args:
        make_workplace: Pickled.
        origin: Where its jobs come from.
    """

    make_workplace: bytes
    origin: Origin

    @classmethod
    def of(cls, make_workplace: MakeWorkplace[Any]) -> Beginning:
        """Return what workers of this process begin with.

        Raises:
            WorkerError: it can't be pickled.
        """
        return cls(pack(make_workplace, "what workers begin with"), Origin.here())


@final
class Workbench:
    """A worker's workplace, and what is done at it, from bytes to bytes.

    Args:
        beginning: What the worker begins with.
        send: Takes what is logged.
    """

    def __init__(self, beginning: Beginning, send: Send) -> None:
        self._make_workplace = beginning.make_workplace
        self._workplace: object = None
        beginning.origin.settle(send)

    def begin(self) -> bytes:
        """Make the workplace, and return a :class:`Begun` or :class:`Fault`."""
        try:
            self._workplace = unpack(self._make_workplace)()
            return message_bytes(Begun())
        except BaseException as error:  # of a user's code too
            return message_bytes(Fault.of(error, at_begin=True))

    def do(self, work: bytes) -> bytes:
        """Do a job, and return its :class:`Value` or :class:`Fault`."""
        return answer(work, self._workplace)


@final
class Outbox:
    """Messages until they are fetched, each once, while threads put more in."""

    def __init__(self) -> None:
        self._messages = deque[bytes]()

    def put(self, message: bytes) -> None:
        """Take a message."""
        self._messages.append(message)

    def take(self) -> list[bytes]:
        """Return the messages since the last time."""
        # One by one: what comes between a copy of all and their removal would be lost.
        return [self._messages.popleft() for _ in range(len(self._messages))]


def answer(work: bytes, workplace: object) -> bytes:
    """Do a job that was sent, and return its :class:`Value` or :class:`Fault`, to be sent back."""
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
        """Send a record; where nobody listens any more, this process is about to end."""
        try:
            said = message_bytes(Said(record.name, record.levelno, self.format(record)))
        except Exception:  # whoever logged gave other arguments than the text has places for
            self.handleError(record)
            return
        with contextlib.suppress(OSError):
            self._send(said)
