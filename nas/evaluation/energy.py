"""Energy of exported networks, where a device tells it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from nas.checks import check_kind
from nas.devices.device import Device, Session, time_turns
from nas.devices.energy import EnergyCounter, Rapl
from nas.devices.onnx_runtime import OnnxRuntime
from nas.errors import DeviceFaultError
from nas.evaluation.on_device import DEVICE, RunsOnDevice
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate

_BLOCKS = 5
"""Chosen: the fewest whose standard deviation means something, because each must outlast the counter's steps."""
_RUNS_PER_TURN = 4
"""As latencies are measured (:mod:`nas.evaluation.turns`)."""


@final
@dataclass(frozen=True)
class EnergyMj(RunsOnDevice):
    """Millijoules per forward pass of the exported network: what a counter says before and after many passes.

    It is all that the counter sees, what the machine takes when idle included. The spread is the standard deviation
    over five blocks of passes.

    Args:
        counter: Counter of the device's energy; the processor's own, which not every system lets one read.
        device: Runs the networks.
        batch_size: Items per forward pass.
        short_seconds: Time per candidate in the search. Counters are renewed about every millisecond.
        long_seconds: Time per candidate for winners.
        name: Name of the objective.

    Raises:
        StudyError: a setting is out of range.
    """

    counter: EnergyCounter = field(default_factory=Rapl)
    device: Device = field(default_factory=OnnxRuntime)
    batch_size: int = 1
    short_seconds: float = 0.5
    long_seconds: float = 5.0
    name: str = "energy_mj"

    def __post_init__(self) -> None:
        check_kind("EnergyMj", "counter", self.counter, EnergyCounter, "an instance with a method joules()")
        self.check_settings()

    @property
    def objective(self) -> Objective:
        """Millijoules, the fewer the better."""
        return Objective(self.name, "mJ", "minimize")

    def identity(self) -> str:
        """Return what the values depend on: the device, the batch, and the counter."""
        return f"{super().identity()}, {self.counter!r}"

    def calibrate(self) -> Mapping[str, float | str]:
        """Return which device it is, after a look at the counter.

        Raises:
            StudyError: there is no counter, or it can't be read.
        """
        self.counter.joules()
        return {DEVICE: self.identity()}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Count the energy of each candidate, one after another.

        Raises:
            StudyChangedError: the device is not the one that was calibrated.
            StudyError: the counter can't be read any more.
            DeviceFaultError: the counter stood still or went back.
        """
        self.check_device(bench.calibration)
        seconds = self.long_seconds if bench.thorough else self.short_seconds
        return [self._measure_model(one.onnx_model, seconds) for one in candidates]

    def _measure_model(self, model: bytes, seconds: float) -> Measurement:
        with self.device.open([model], self.batch_size) as session:
            turn = float(time_turns(session, [0], _RUNS_PER_TURN).seconds.mean()) * (_RUNS_PER_TURN + 1)
            turns = max(1, round(seconds / _BLOCKS / turn))
            blocks = [self._block(session, turns) for _ in range(_BLOCKS)]
        passes = _BLOCKS * turns * (_RUNS_PER_TURN + 1)
        return Measurement(statistics.median(blocks), statistics.stdev(blocks), "mJ", self.identity(), passes)

    def _block(self, session: Session, turns: int) -> float:
        """Return the millijoules of one pass; in every turn there is one more than is timed."""
        begin = self.counter.joules()
        time_turns(session, [0] * turns, _RUNS_PER_TURN)
        used = self.counter.joules() - begin
        if not used > 0:
            raise DeviceFaultError(
                f"a counter of energy says that {turns * (_RUNS_PER_TURN + 1)} passes took {used} J: more than 0 is "
                "expected; it may have begun anew, or measure for longer (short_seconds)."
            )
        return 1e3 * used / (turns * (_RUNS_PER_TURN + 1))
