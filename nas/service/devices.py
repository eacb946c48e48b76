"""Where runs train: the devices that the operator names, and whether this machine has them.

A child process looks, so that the service needs no torch.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nas.errors import ServiceError
from nas.progress import DEFAULT_DEVICE
from nas.service.settings import child_environment

_ON_RAY = re.compile(r"(?:(?P<device>[^@]*)@)?ray:(?P<address>.*)")


@final
@dataclass(frozen=True)
class Place:
    """One of the service's devices.

    Args:
        device: As torch names it; of every worker, on a cluster.
        cluster: Address of a Ray cluster, as ``nas run --ray`` takes it; None on this machine.
    """

    device: str
    cluster: str | None = None

    @classmethod
    def parse(cls, name: str) -> Place:
        """Read ``cuda:0``, ``ray:HOST:PORT``, ``cuda@ray:auto``."""
        found = _ON_RAY.fullmatch(name)
        return cls(name) if found is None else cls(found["device"] or DEFAULT_DEVICE, found["address"])

    def flags(self) -> list[str]:
        """Return what tells ``nas run`` to train there."""
        flags = [] if self.device == DEFAULT_DEVICE else [f"--device={self.device}"]
        return flags if self.cluster is None else [*flags, f"--ray={self.cluster}"]


def check_devices(names: Sequence[str]) -> None:
    """Refuse devices that this machine doesn't have, without taking any memory of those it has.

    Raises:
        ServiceError: a name is no device, or the device isn't there.
    """
    others = [name for name in names if name != DEFAULT_DEVICE]
    if not others:
        return
    command = [sys.executable, "-m", "nas.service.devices", *others]
    looked = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    if looked.returncode != 0:
        said = looked.stdout.strip() or f"torch can't look for it ({looked.stderr.strip()[-200:]})"
        raise ServiceError(
            f"{said}: give --device as cpu, as a device that this machine and its driver have, or as ray:HOST:PORT."
        )


def fault_of(name: str) -> str | None:
    """Return what is wrong with a device, None if it is there. Imports torch.

    Whether a Ray cluster is there is seen by a run that begins on it: it may come and go meanwhile.
    """
    place = Place.parse(name)
    if place.cluster is not None:
        if not re.fullmatch(r"auto|local|[^\s:]+:[0-9]+", place.cluster):
            return f"device {name!r} is not valid (ray:HOST:PORT, ray:auto and ray:local are)"
        if importlib.util.find_spec("ray") is None:
            return f"device {name!r} needs Ray, which isn't installed here (pip install 'nas[ray]')"
    return _fault_of_torch(place.device, name)


def _fault_of_torch(device_name: str, name: str) -> str | None:
    import torch

    try:
        device = torch.device(device_name)
    except RuntimeError:
        return f"device {name!r} is not valid (cpu, cuda, cuda:1, ... are)"
    if device.type == "cpu":
        return None
    found = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if found is None or found.type != device.type else torch.accelerator.device_count()
    if (device.index or 0) >= count:
        return f"device {name!r} isn't there (this machine has {count} of type {device.type})"
    return None


if __name__ == "__main__":
    faults = [fault for name in sys.argv[1:] if (fault := fault_of(name)) is not None]
    sys.stdout.write(faults[0] if faults else "")
    sys.exit(1 if faults else 0)
