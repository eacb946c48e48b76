"""What a device is: something that runs exported networks in turns and says how long they took.

Whatever makes a latency of these times (a reference network that takes turns, ratios, blocks, spread) is in
:mod:`nas.evaluation.latency`, once for all devices.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np

from nas.checks import quote
from nas.errors import DeviceFaultError
from nas.space import FloatArray


@final
@dataclass(frozen=True)
class Timings:
    """How long networks took in turns, as the device's own clock tells.

    Args:
        seconds: ``(turns, runs)`` float64, of one forward pass each; a list of rows becomes such an array.
        cpu_share: Which share of the time the measuring thread had its core for itself, in [0, 1]; 1 where the
            device doesn't know, and where its clock stands while others have the core.

    Raises:
        DeviceFaultError: there isn't a row of as many times for each turn, or a time is not finite, or not above 0.
    """

    seconds: FloatArray
    cpu_share: float = 1.0

    def __post_init__(self) -> None:
        try:
            values = np.asarray(self.seconds, dtype=np.float64)
        except (TypeError, ValueError) as error:  # rows of different lengths, or no numbers
            raise DeviceFaultError(
                f"a device told the times {reprlib.repr(self.seconds)}: numbers are expected, in rows of equal length, "
                "one for each turn."
            ) from error
        object.__setattr__(self, "seconds", values)
        if values.ndim != 2 or not np.isfinite(values).all() or not (values > 0).all():
            wrong = values[~(np.isfinite(values) & (values > 0))] if values.ndim == 2 else values
            raise DeviceFaultError(
                f"a device told the times {wrong.ravel()[:3].tolist()} in seconds of shape {values.shape}: finite "
                "ones above 0 are expected, a row per turn; its clock may have jumped."
            )


class Session(Protocol):
    """Networks that are loaded and warm."""

    def time(self, order: Sequence[int], runs: int) -> Timings:
        """Run networks in turns. A session is asked several times, each time for other turns.

        In every turn the session runs the network once untimed, which pays for the caches that the other networks
        filled, and then ``runs`` times.

        Args:
            order: Positions of networks in what was opened, one per turn; most occur many times.
            runs: Timed runs of a turn.

        Returns:
            Seconds of shape ``(len(order), runs)``.

        Raises:
            DeviceUnavailableError: the device can't be reached any more; the measurement is made again later.
            ExportError: the device's runtime can't run a network after all.
        """


def time_turns(session: Session, order: Sequence[int], runs: int) -> Timings:
    """Return what a session says of some turns, once it is known to be times of these.

    Raises:
        DeviceFaultError: it is something else.
        NasError: as :meth:`Session.time`.
    """
    timings = session.time(order, runs)
    if not isinstance(timings, Timings):
        raise DeviceFaultError(
            f"time() of a session returned {quote(timings)}: nas.devices.Timings is expected."
        )
    shape, wanted = timings.seconds.shape, (len(order), runs)
    if shape != wanted:
        raise DeviceFaultError(
            f"time() of a session was asked for {len(order)} turns of {runs} runs and returned seconds of shape "
            f"{shape}: {wanted} is expected."
        )
    return timings


@runtime_checkable
class Device(Protocol):
    """Runs exported networks. ``repr`` goes into the study's fingerprint, so a frozen dataclass does well."""

    def identity(self) -> str:
        """Return what the times depend on, in a line: processor, runtime and its version, threads.

        A study goes on only on a device of the identity that it began with.

        Raises:
            DeviceUnavailableError: the device can't be reached.
        """

    def open(self, models: Sequence[bytes], batch_size: int) -> AbstractContextManager[Session]:
        """Load networks and warm them up; nothing else is measured on the device until the end of the block.

        Each measurement of a latency opens two sessions, with the reference network at position 0. Before training, the
        largest network is opened without being timed, to hear what the runtime can't run.

        Args:
            models: Serialised ONNX with a dynamic batch dimension. Floats are drawn at random, ids are 1.
            batch_size: Items per forward pass.

        Raises:
            DeviceUnavailableError: the device can't be reached; the measurement is made again later.
            ExportError: the device's runtime can't run a network.
        """
