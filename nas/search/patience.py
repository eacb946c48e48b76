"""Repeats what failed for a reason outside of the architecture, and waits for a device that can't be reached."""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable
from typing import TypeVar, final

from nas.errors import (
    DeviceFaultError,
    DeviceUnavailableError,
    EvaluationError,
    NasError,
    ObjectiveError,
    one_line,
)
from nas.objective import Measurement

logger = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], None]
"""Waits for so many seconds."""

_PAUSES_S = (1.0, 10.0, 60.0)
"""Before each of the three retries, where a connection is to come back."""
_LONGEST_PAUSE_S = 60.0
"""A device that is back is noticed within a minute."""

_EXHAUSTED = (
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)),
    "No usable temporary directory",
)
"""What errors say, also within a sentence about them, where the machine has no room left or may open no more files."""


@final
class LostMeasurementError(EvaluationError):
    """A time, or whatever else a device tells, is not a finite number."""


def check_finite(name: str, measurement: Measurement, *, of_device: bool) -> Measurement:
    """Return a measurement that is finite.

    Args:
        name: Name of its objective.
        measurement: Measurement to check.
        of_device: Whether another attempt may give a number. What a network answers doesn't change.

    Raises:
        LostMeasurementError: it isn't, and another attempt may give one.
        EvaluationError: it isn't.
    """
    try:
        return measurement.check_unit(name)
    except EvaluationError as error:
        if of_device:
            raise LostMeasurementError(str(error)) from error
        raise


def is_passing(error: Exception) -> bool:
    """Whether an error may be temporary: of the operating system, of a connection, or for lack of memory.

    Errors of ``nas`` itself are no such failures, except a lost measurement, a device that told nonsense, and a
    sentence about such a failure.
    """
    if isinstance(error, LostMeasurementError) or isinstance(_unwrap_error(error), DeviceFaultError):
        return True
    return isinstance(_unwrap_error(error), OSError | MemoryError) and not isinstance(
        _unwrap_error(error), NasError
    )


def is_exhaustion(error: BaseException) -> bool:
    """Whether the machine has run out of room or of files: no architecture is to blame, and none would fare better."""
    return any(text in str(error) for text in _EXHAUSTED)


def _unwrap_error(error: BaseException) -> BaseException:
    """Return what an objective raised, where the error is a sentence about that."""
    return (error.__cause__ or error) if isinstance(error, EvaluationError | ObjectiveError) else error


def retry(work: Callable[[], T], what: str, sleep: Sleep = time.sleep) -> T:
    """Return ``work()``; after a temporary error, try up to three times more.

    After a lost connection or a time-out, the pause becomes longer with every attempt.

    Args:
        work: May be called again.
        what: What the log calls it.
        sleep: Waits.
    """
    for pause in _PAUSES_S:
        try:
            return work()
        except Exception as error:
            if not is_passing(error):
                raise
            logger.warning(
                "%s failed for a reason that may pass (%s: %s): trying again",
                what,
                type(error).__name__,
                one_line(error),
            )
            if isinstance(_unwrap_error(error), ConnectionError | TimeoutError):
                sleep(pause)
    return work()


@final
class Pauses:
    """Waits for a device that is away, longer each time until it is back.

    Args:
        sleep: Waits.
    """

    def __init__(self, sleep: Sleep = time.sleep) -> None:
        self._sleep = sleep
        self._count = 0

    def wait(self, error: DeviceUnavailableError) -> None:
        """Say what is waited for, and wait."""
        seconds = min(math.ldexp(1.0, min(self._count, 10)), _LONGEST_PAUSE_S)
        self._count += 1
        logger.warning("waiting for a device: %s; trying again in %.0f s", one_line(error), seconds)
        self._sleep(seconds)

    def end(self) -> None:
        """Begin with a short pause again: the device answered."""
        self._count = 0


def wait_for_device(work: Callable[[], T], what: str, sleep: Sleep = time.sleep) -> T:
    """Return ``work()``, tried again as :func:`retry` does, and as often as its device is away."""
    pauses = Pauses(sleep)
    while True:
        try:
            return retry(work, what, sleep)
        except DeviceUnavailableError as error:
            pauses.wait(error)
