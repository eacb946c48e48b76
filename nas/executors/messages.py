"""Messages between processes: jobs are sent to workers, and outcomes and log lines come back."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from typing import Any, final

from nas.errors import NasError, WorkerError, kind_and_line
from nas.executors.executor import Done, Failed


@final
@dataclass(frozen=True)
class Value:
    """The value that a job returned."""

    value: object


@final
@dataclass(frozen=True)
class Fault:
    """The exception that a job, or the making of a workplace, raised.

    Args:
        kind: Name of the exception's type.
        text: Its message.
        error: The exception itself, if its type is of ``nas`` or built in. Others may not be importable here.
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
        """Return the exception; if it could not be sent, one with a type of the same name and the same message."""
        if self.at_begin and not isinstance(self.error, NasError):
            return WorkerError(
                f"a worker can't begin ({self.kind}: {self.text}): let it be able to import the study, and see the run "
                "directory."
            )
        return self.error or type(self.kind, (WorkerError,), {})(self.text)


@final
@dataclass(frozen=True)
class Begun:
    """A worker has made its workplace."""


@final
@dataclass(frozen=True)
class Said:
    """A line that a worker logged."""

    name: str
    level: int
    text: str

    def pass_on(self) -> None:
        """Log the line in this process."""
        logging.getLogger(self.name).log(self.level, "%s", self.text)


Message = Begun | Value | Fault | Said


def outcome_of(key: int, message: Value | Fault) -> Done | Failed:
    """Return the outcome of a job, given the worker's answer.

    Raises:
        NasError: the worker can't begin.
    """
    if isinstance(message, Value):
        return Done(key, message.value)
    if message.at_begin:
        raise message.as_error()
    return Failed(key, message.as_error())


def pack(thing: object, what: str) -> bytes:
    """Return a pickled object.

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


def read_message(sent: bytes) -> Message:
    """Return what a worker sent; a fault of the job, where what came out of it could be sent and can't be received."""
    try:
        message: Message = unpack(sent)
    except Exception as error:  # whatever a class of a user's does
        return Fault.of(WorkerError(f"what came out of a job can't be received ({kind_and_line(error)})."))
    return message
