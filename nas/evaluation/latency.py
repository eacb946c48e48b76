"""Latency of exported networks on a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import final

import torch
from torch import nn

from nas.devices.device import Device
from nas.devices.latency_profile import check_spare
from nas.devices.onnx_runtime import OnnxRuntime
from nas.evaluation.on_device import DEVICE, RunsOnDevice
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.turns import ratios, time_in_turns
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate

_CALIBRATION_SHARE = 2.0
"""As a multiple of the time that a winner gets: long enough for a spell in which nothing else slows the device down."""
_REFERENCE = "reference_ms"
"""Name under which a calibration tells how long the reference network takes alone."""


@final
@dataclass(frozen=True)
class LatencyMs(RunsOnDevice):
    """Milliseconds per forward pass of the exported network on a device.

    It is the latency on a device that does nothing else. A device's speed drifts, so a fixed reference network takes
    turns with the candidates: the value is the ratio of their times times the reference's nominal latency, which is
    measured once per study. The spread says how far another process would find it: see :mod:`nas.evaluation.turns`.

    A study may have several, each with a name of its own: ``LatencyMs(device=..., name="latency_ms_pi")``.

    Args:
        device: Where it is measured.
        batch_size: Items per forward pass.
        short_seconds: Time per candidate in the search.
        long_seconds: Time per candidate for winners, which all take turns with each other.
        name: Name of the objective.
        measurements: How many a search may make, those at its end included; the other candidates' latencies are
            predicted, see :class:`nas.search.spared.SparedLatency`. None to measure every candidate. Winners are
            measured in any case, and don't count.
        profile: A file of ``nas profile-device`` for the same network, on any device: what such predictions begin with.

    Raises:
        StudyError: a setting is out of range.
    """

    device: Device = field(default_factory=OnnxRuntime)
    batch_size: int = 1
    short_seconds: float = 0.04
    long_seconds: float = 1.0
    name: str = "latency_ms"
    # Not part of the repr: a study goes on when they change.
    measurements: int | None = field(default=None, repr=False)
    profile: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.check_settings()
        check_spare(self.measurements, self.profile)
        Objective(self.name, "ms", "minimize")  # to hear now what is wrong with the name

    @property
    def objective(self) -> Objective:
        """Milliseconds, the fewer the better."""
        return Objective(self.name, "ms", "minimize")

    def calibrate(self) -> dict[str, float | str]:
        """Measure the reference network alone: its nominal latency in ms, on this device."""
        identity = self.identity()
        blocks = time_in_turns(
            self.device, [self._reference], self.batch_size, _CALIBRATION_SHARE * self.long_seconds, math.inf
        )
        # The least, because whatever disturbs a device only adds time.
        return {_REFERENCE: min(float(block.seconds[0]) for block in blocks) * 1e3, DEVICE: identity}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Time the candidates in turns with the reference network.

        Raises:
            StudyChangedError: the device is not the one that was calibrated.
            DeviceUnavailableError: it can't be reached.
        """
        self.check_device(bench.calibration)
        seconds = self.long_seconds if bench.thorough else self.short_seconds
        nominal = float(bench.calibration[_REFERENCE])
        models = [self._reference, *(candidate.onnx_model for candidate in candidates)]
        blocks = time_in_turns(self.device, models, self.batch_size, seconds, nominal / 1e3)
        repeats = sum(block.repeats for block in blocks)
        device = str(bench.calibration[DEVICE])
        return [
            Measurement(nominal * ratio, nominal * spread, self.objective.unit, device, repeats)
            for ratio, spread in zip(*ratios(blocks, nominal / 1e3), strict=True)
        ]

    @cached_property
    def _reference(self) -> bytes:
        return export_onnx(_reference_network(), (3, 32, 32))


def _reference_network() -> nn.Module:
    """Return a small fixed network with the usual mix of convolutions; its weights don't matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(16, 48, 1), nn.ReLU()]
            layers += [nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.ReLU(), nn.Conv2d(48, 16, 1)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()
