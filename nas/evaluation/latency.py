"""Latency of exported networks on a device."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import torch
from torch import nn

from nas.checks import check_integers, check_kind, check_numbers
from nas.devices.device import Device, Session, Timings
from nas.devices.onnx_runtime import OnnxRuntime
from nas.errors import StudyChangedError, StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.objective import Measurement, Objective
from nas.protocols import Bench, Candidate
from nas.space import FloatArray

_RUNS_PER_TURN = 4
_BLOCKS = 5
_TURNS_TO_BEGIN_WITH = 2
_NOISY_CPU_SHARE = 0.9
_MAX_ATTEMPTS = 3
_REFERENCE, _DEVICE = "reference_ms", "device"
"""What is known of a device: how long the reference network takes alone, and which device it is."""


@final
@dataclass(frozen=True)
class LatencyMs:
    """Milliseconds per forward pass of the exported network on a device.

    A device's speed drifts, so a fixed reference network takes turns with the candidates: the value is
    the ratio of the medians times the reference's nominal latency, which is measured once per study.
    The spread is the standard deviation of that value over five blocks of turns. A block
    during which the measuring process did not have its core for itself is repeated, up to three times.

    A study may have several, each with a name of its own: ``LatencyMs(device=..., name="latency_ms_pi")``.

    Args:
        device: Where it is measured.
        batch_size: Items per forward pass.
        short_seconds: Time per candidate in the search.
        long_seconds: Time per candidate for winners, which all take turns with each other.
        name: Of the objective.

    Raises:
        StudyError: a setting is out of range.
    """

    device: Device = field(default_factory=OnnxRuntime)
    batch_size: int = 1
    short_seconds: float = 0.04
    long_seconds: float = 1.0
    name: str = "latency_ms"

    def __post_init__(self) -> None:
        check_kind("LatencyMs", "device", self.device, Device, "an instance such as OnnxRuntime(threads=2)")
        check_integers(self, "batch_size")
        check_numbers(self, "short_seconds", "long_seconds")
        if self.batch_size < 1:
            raise StudyError(f"LatencyMs has batch_size={self.batch_size}: it must be 1 or more.")
        if not (0 < self.short_seconds < math.inf and 0 < self.long_seconds < math.inf):
            raise StudyError(
                f"LatencyMs has short_seconds={self.short_seconds} and long_seconds={self.long_seconds}: both must "
                "be finite and more than 0."
            )
        Objective(self.name, "ms", "minimize")  # to hear now what is wrong with the name

    @property
    def objective(self) -> Objective:
        """Milliseconds, the fewer the better."""
        return Objective(self.name, "ms", "minimize")

    def identity(self) -> str:
        """Return what the values depend on: the device, and the batch."""
        return f"{self.device.identity()}, batch {self.batch_size}"

    def calibrate(self) -> dict[str, float | str]:
        """Measure the reference network alone: its nominal latency in ms, on this device."""
        identity = self.identity()
        timings = self._take_turns([], 1.0)
        return {_REFERENCE: float(np.median(timings[0])) * 1e3, _DEVICE: identity}

    def check_device(self, calibration: Mapping[str, float | str]) -> None:
        """Refuse a device that is not the one of a calibration.

        Raises:
            StudyChangedError: it is another one.
        """
        identity = self.identity()
        if identity != calibration[_DEVICE]:
            raise StudyChangedError(
                f"{self.name!r} was measured on {calibration[_DEVICE]}, and the device is now {identity}: "
                "measurements of two devices can't share a column; bring the first one back, or run in a new directory."
            )

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Time the candidates in turns with the reference network.

        Raises:
            StudyChangedError: the device is not the one that was calibrated.
            DeviceUnavailableError: it can't be reached.
        """
        self.check_device(bench.calibration)
        seconds = self.long_seconds if bench.thorough else self.short_seconds
        models = [candidate.onnx_model for candidate in candidates]
        reference, *timed = self._take_turns(models, seconds)
        nominal = float(bench.calibration[_REFERENCE])
        return [
            Measurement(
                nominal * float(np.median(times) / np.median(reference)),
                nominal * _spread(times, reference),
                self.objective.unit,
                str(bench.calibration[_DEVICE]),
                times.size,
            )
            for times in timed
        ]

    def _take_turns(self, models: Sequence[bytes], seconds: float) -> list[FloatArray]:
        """Return ``(turns, runs)`` seconds of the reference network and of each model, block after block."""
        count = 1 + len(models)
        with self.device.open([self._reference, *models], self.batch_size) as session:
            begin = session.time(list(range(count)) * _TURNS_TO_BEGIN_WITH, _RUNS_PER_TURN)
            round_seconds = float(begin.seconds.sum()) / _TURNS_TO_BEGIN_WITH
            rounds = max(_TURNS_TO_BEGIN_WITH, round(seconds * count / _BLOCKS / round_seconds))
            blocks = [
                _undisturbed_block(session, list(range(count)) * rounds).seconds for _ in range(_BLOCKS)
            ]
        turns = np.concatenate(blocks)
        return [turns[position::count] for position in range(count)]

    @cached_property
    def _reference(self) -> bytes:
        return export_onnx(_reference_network(), (3, 32, 32))


def _undisturbed_block(session: Session, order: Sequence[int]) -> Timings:
    """Return the timings of the attempt that was disturbed least."""
    best: Timings | None = None
    for _ in range(_MAX_ATTEMPTS):
        found = session.time(order, _RUNS_PER_TURN)
        if best is None or found.cpu_share > best.cpu_share:
            best = found
        if best.cpu_share >= _NOISY_CPU_SHARE:
            break
    assert best is not None
    return best


def _spread(times: FloatArray, reference: FloatArray) -> float:
    """Standard deviation over blocks of the ratio of medians; ``times`` is ``(turns, runs)``."""
    blocks = zip(np.array_split(times, _BLOCKS), np.array_split(reference, _BLOCKS), strict=True)
    return statistics.stdev(float(np.median(a) / np.median(b)) for a, b in blocks)


def _reference_network() -> nn.Module:
    """Return a small fixed network with the usual mix of convolutions; its weights don't matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(16, 48, 1), nn.ReLU()]
            layers += [nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.ReLU(), nn.Conv2d(48, 16, 1)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()
