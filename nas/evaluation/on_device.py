"""What objectives share that run networks on a device, which their calibration names."""

from __future__ import annotations

from collections.abc import Sequence

from nas.devices.device import Device
from nas.errors import StudyChangedError
from nas.objectives import Calibration

DEVICE = "device"
"""Name under which a calibration tells which device it is of."""


def device_identity(device: Device, batch_size: int) -> str:
    """Return what values depend on: the device, and the batch."""
    return f"{device.identity()}, batch {batch_size}"


def check_same_device(objective: str, identity: str, calibration: Calibration) -> None:
    """Refuse a device that is not the one of a calibration.

    Raises:
        StudyChangedError: it is another one.
    """
    if identity != calibration[DEVICE]:
        raise StudyChangedError(
            f"{objective!r} was measured on {calibration[DEVICE]}, and the device is now {identity}: measurements of "
            "two devices can't share a column; bring the first one back, or run in a new directory."
        )


def load_once(device: Device, models: Sequence[bytes], batch_size: int) -> None:
    """Load exported networks on a device, and measure nothing."""
    with device.open(models, batch_size):
        pass
