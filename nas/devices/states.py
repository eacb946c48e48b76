"""How devices are at the moment, for lists."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

from nas.devices.agent_answers import AgentFacts
from nas.devices.remote import Remote
from nas.errors import DeviceRefusedError, DeviceUnavailableError, one_line


@final
@dataclass(frozen=True)
class DeviceState:
    """How a device is at the moment.

    Args:
        url: Its agent's.
        word: ``ready``, ``busy``, ``too warm``, ``away``, or ``refused``.
        sentence: Why it is away or refuses; empty otherwise.
        facts: What its agent tells; None of one that doesn't.
    """

    url: str
    word: str
    sentence: str = ""
    facts: AgentFacts | None = None

    @property
    def cells(self) -> list[str]:
        """What :data:`COLUMNS` name, for a table."""
        if self.facts is None:
            return [self.url, self.word, *[""] * (len(COLUMNS) - 2)]
        told = self.facts
        return [
            self.url,
            self.word,
            told.name,
            f"{told.processor} ({told.machine})",
            str(told.cores),
            told.onnxruntime,
            "" if told.state.temperature_c is None else f"{told.state.temperature_c:.0f} °C",
            "" if told.state.clock_mhz is None else f"{told.state.clock_mhz} MHz",
            told.agent,
        ]


COLUMNS = ["address", "state", "name", "processor", "cores", "ONNX Runtime", "temperature", "clock", "agent"]


def state_of(device: Remote) -> DeviceState:
    """Ask a device how it is."""
    try:
        facts = device.facts()
    except DeviceUnavailableError as error:
        return DeviceState(device.url, "away", one_line(error))
    except DeviceRefusedError as error:
        return DeviceState(device.url, "refused", one_line(error))
    word = "too warm" if facts.state.throttled else "busy" if facts.busy else "ready"
    return DeviceState(device.url, word, facts=facts)


def states_of(devices: Sequence[Remote]) -> list[DeviceState]:
    """Ask devices how they are, all at the same time: one that is away takes seconds."""
    with ThreadPoolExecutor(max_workers=len(devices)) as threads:
        return list(threads.map(state_of, devices))
