"""Where a run of the service trains: on a device of this machine, or on a Ray cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from nas.progress import DEFAULT_DEVICE

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
