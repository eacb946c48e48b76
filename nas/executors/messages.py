"""What goes between processes: work there, outcomes and what was logged back."""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from nas.errors import NasError, WorkerError, kind_and_line
from nas.executors.executor import Done, Failed, MakeWorkplace, Work

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Value:
    """What came out of a job."""

    value: object


@final
@dataclass(frozen=True)
class Fault:
    """What a job raised, or what making the workplace did.

    Args:
        kind: Name of its type.
        text: What it says.
        error: Itself, where it is of ``nas`` or of Python: others may not survive the way.
        at_begin: Whether the worker could not even begin.
    """

    kind: str
    text: str
    error: BaseException | None
    at_begin: bool = False

    @classmethod
    def of(cls, error: BaseException, *, at_begin: bool = False) -> Fault:
        """Describe an error."""
        kind, text = type(error).__name__, str(error)
        try:
            again = pickle.loads(pickle.dumps(error))
            survives = type(again) is type(error) and str(again) == text
        except Exception:  # whatever a class of a user's does
            survives = False
        known = type(error).__module__.partition(".")[0] in ("builtins", "nas")
        return cls(kind, text, error if known and survives else None, at_begin)

    def as_error(self) -> BaseException:
        """Return the error; where it stayed behind, one of the same name that says the same."""
        if self.at_begin and not isinstance(self.error, NasError):
            return WorkerError(
                f"a worker can't begin ({self.kind}: {self.text}): let it be able to import the study, and see the run "
                "directory."
            )
        return self.error or type(self.kind, (WorkerError,), {})(self.text)


@final
@dataclass(frozen=True)
class Begun:
    """A worker has its workplace."""


@final
@dataclass(frozen=True)
class Said:
    """What a worker logged."""

    name: str
    level: int
    text: str

    def pass_on(self) -> None:
        """Log it here."""
        logging.getLogger(self.name).log(self.level, "%s", self.text)


Message = Begun | Value | Fault | Said


@final
@dataclass(frozen=True)
class Beginning:
    """What a worker begins with.

    Args:
        make_workplace: Pickled.
        level: Level of what is logged there and told here.
    """

    make_workplace: bytes
    level: int

    @classmethod
    def of(cls, make_workplace: MakeWorkplace[Any]) -> Beginning:
        """Return what workers of this process begin with.

        Raises:
            WorkerError: it can't be pickled.
        """
        level = logging.getLogger("nas").getEffectiveLevel()
        return cls(pack(make_workplace, "what workers begin with"), level)

    def begin(self) -> tuple[object, Begun | Fault]:
        """Make the workplace, and return it with what is to be told of that."""
        try:
            return unpack(self.make_workplace)(), Begun()
        except BaseException as error:  # of a user's code too
            return None, Fault.of(error, at_begin=True)


def outcome_of(key: int, message: Value | Fault) -> Done | Failed:
    """Return what a worker's answer means for its job.

    Raises:
        NasError: the worker can't begin.
    """
    if isinstance(message, Value):
        return Done(key, message.value)
    if message.at_begin:
        raise message.as_error()
    return Failed(key, message.as_error())


def pack(thing: object, what: str) -> bytes:
    """Return a thing as bytes.

    Raises:
        WorkerError: it can't be pickled.
    """
    try:
        return pickle.dumps(thing)
    except NasError:  # of something that is made only to be sent
        raise
    except Exception as error:  # pickle raises many kinds
        raise WorkerError(
            f"{what} can't be sent to another process ({kind_and_line(error)}): define its functions and classes at "
            "the top of a module that can be imported, or work in this process alone."
        ) from error


def message_bytes(message: object) -> bytes:
    """Return a message of this module's kind, or a caller's own, as bytes."""
    return pickle.dumps(message)


def unpack(thing: bytes) -> Any:
    """Undo :func:`pack`. The bytes are of a process of the same run, never of a file or a stranger."""
    return pickle.loads(thing)


def answer(work: bytes, workplace: object) -> bytes:
    """Do a job that was sent, and return its :class:`Value` or :class:`Fault`, to be sent back."""
    try:
        job: Work[object] = unpack(work)
        return pack(Value(job(workplace)), "what came out of a job")
    except BaseException as error:  # SystemExit of a user's code too
        logger.debug("a job failed", exc_info=True)
        return pickle.dumps(Fault.of(error))


def tell_of_logs(send: Callable[[bytes], None], level: int) -> None:
    """Let a worker's process, which has no terminal of its own, send what is logged.

    Args:
        send: Takes the bytes of a :class:`Said`.
        level: Level of what is sent.
    """
    logging.root.setLevel(level)
    logging.root.addHandler(_Telling(send))


class _Telling(logging.Handler):
    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; where nobody listens any more, this process is about to end."""
        with contextlib.suppress(OSError):
            self._send(pickle.dumps(Said(record.name, record.levelno, self.format(record))))
