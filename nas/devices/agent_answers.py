"""What an agent is asked for and what it answers, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class AgentState:
    """How a device is at the moment; None is what its system doesn't tell."""

    temperature_c: float | None
    clock_mhz: int | None
    throttled: bool | None


@final
@dataclass(frozen=True)
class AgentFacts:
    """What an agent tells of itself and its device."""

    agent: str
    protocol: int
    oldest_protocol: int
    name: str
    instance: str
    processor: str
    machine: str
    max_clock_mhz: int | None
    cores: int
    onnxruntime: str
    python: str
    busy: bool
    state: AgentState
    max_model_bytes: int
    max_cache_bytes: int
    max_seconds: int

    def identity(self, threads: int) -> str:
        """Return what times depend on, in a line."""
        clock = f" at up to {self.max_clock_mhz} MHz" if self.max_clock_mhz else ""
        return (
            f"{self.processor}{clock} ({self.machine}), {threads} thread(s), ONNX Runtime {self.onnxruntime}"
        )


@final
@dataclass(frozen=True)
class TimingWork:
    """Networks that an agent is to time, and how.

    Args:
        models: SHA-256 of the networks.
        batch: Items per forward pass.
        threads: Threads of one operator.
        seconds: Longest time of a measurement.
    """

    models: tuple[str, ...]
    batch: int
    threads: int
    seconds: int


@final
@dataclass(frozen=True)
class AgentTimes:
    """What an agent answers: seconds by turn and run, and which share of the time its thread had the core.

    ``instance`` names the process that timed: another one, and what was warm isn't any more.
    """

    seconds: list[list[float]]
    cpu_share: float
    instance: str


@final
class MissingModelsError(Exception):
    """The agent lacks models.

    Args:
        digests: Theirs.
    """

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__(", ".join(digests))
        self.digests = tuple(digests)
