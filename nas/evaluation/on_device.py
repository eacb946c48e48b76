"""What objectives share that run exported networks on a device, which their calibration names."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from typing import final

from nas.checks import check_integers, check_kind, check_numbers
from nas.devices.device import Device
from nas.errors import StudyChangedError, StudyError
from nas.objectives import Calibration

DEVICE = "device"
"""Name under which a calibration tells which device it is of."""


class RunsOnDevice(ABC):
    """An objective that runs exported networks on a device for as long as it is told.

    Its fields are those of the objective, a frozen dataclass, which also says their defaults.
    """

    device: Device
    batch_size: int
    short_seconds: float
    long_seconds: float
    name: str

    def check_settings(self) -> None:
        """Refuse settings that are out of range.

        Raises:
            StudyError: one is.
        """
        holder = type(self).__name__
        check_kind(holder, "device", self.device, Device, "an instance such as OnnxRuntime(threads=2)")
        check_integers(self, "batch_size")
        check_numbers(self, "short_seconds", "long_seconds")
        if self.batch_size < 1:
            raise StudyError(f"{holder} has batch_size={self.batch_size}: it must be 1 or more.")
        if not (0 < self.short_seconds < math.inf and 0 < self.long_seconds < math.inf):
            raise StudyError(
                f"{holder} has short_seconds={self.short_seconds} and long_seconds={self.long_seconds}: both must "
                "be finite and more than 0."
            )

    def identity(self) -> str:
        """Return what the values depend on: the device, and the batch."""
        return f"{self.device.identity()}, batch {self.batch_size}"

    @final
    def check_device(self, calibration: Calibration) -> None:
        """Refuse a device that is not the one of a calibration.

        Raises:
            StudyChangedError: it is another one.
        """
        identity = self.identity()
        if identity != calibration[DEVICE]:
            raise StudyChangedError(
                f"{self.name!r} was measured on {calibration[DEVICE]}, and the device is now {identity}: measurements "
                "of two devices can't share a column; bring the first one back, or run in a new directory."
            )

    @final
    def check_models(self, models: Sequence[bytes]) -> None:
        """Load exported networks on the device, and measure nothing."""
        with self.device.open(models, self.batch_size):
            pass
