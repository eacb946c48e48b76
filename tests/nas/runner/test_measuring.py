"""Measuring a candidate in the search."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from fakes import exact, run_in, tiny_study

from nas import Accuracy, LatencyMs, Trust
from nas.objective import Measurement, Objective
from nas.protocols import Bench, Candidate, MeasuredObjective
from nas.runner.measuring import measurements
from nas.runner.preparation import prepare


@dataclass(frozen=True)
class Flaky:
    """A latency whose second, fourth and first thorough measurement are lost."""

    calls: list[bool] = field(default_factory=list, repr=False)
    objective: Objective = Objective("latency_ms", "ms", "minimize")

    def calibrate(self) -> dict[str, float]:
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.calls.append(bench.thorough)
        if len(self.calls) == 2 or (bench.thorough and self.calls.count(True) == 1):
            raise OSError("the clock was away for a moment")
        time = math.nan if len(self.calls) == 4 else 1.0 + len(self.calls) % 3
        return [exact(time, "ms") for _ in candidates]


def test_a_lost_measurement_of_an_objective_fails_no_trial(tmp_path: Path) -> None:
    flaky = Flaky()
    results = run_in(tiny_study(objectives=(Accuracy(), flaky), trust=Trust(count=0)), tmp_path)
    assert results.trials["complete"] == 6
    assert results.trials["failed"] == 0
    assert flaky.calls == [False] * 8 + [True] * 2


@dataclass(frozen=True)
class Recorded:
    """Notes when it is measured, and needs nothing."""

    name: str
    calls: list[str] = field(repr=False)

    @property
    def objective(self) -> Objective:
        return Objective(self.name, "", "minimize")

    def calibrate(self) -> dict[str, float]:
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.calls.append(self.name)
        return [exact(1.0) for _ in candidates]


@pytest.mark.parametrize(
    ("objectives", "device", "runs_exported"),
    [
        ((Accuracy(), LatencyMs()), "cpu", True),
        ((LatencyMs(), Accuracy()), "cpu", True),
        ((Accuracy(),), "cpu", False),
        ((Accuracy(), Recorded("latency", [])), "cpu", False),
        ((Accuracy(), LatencyMs()), "meta", False),
    ],
)
def test_the_engine_follows_from_the_study_alone(
    objectives: tuple[MeasuredObjective, ...], device: str, runs_exported: bool
) -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    prepared = dataclasses.replace(prepared, measured=objectives, device=torch.device(device))
    assert prepared.runs_exported == runs_exported


def test_every_objective_is_measured() -> None:
    calls: list[str] = []
    prepared = prepare(tiny_study(), torch.device("cpu"))
    measured = tuple(Recorded(name, calls) for name in ("quality", "latency"))
    prepared = dataclasses.replace(prepared, measured=measured)
    architecture = prepared.problem.space.smallest()
    candidate = prepared.candidate(prepared.supernet.extract(architecture))
    found = measurements(prepared, architecture, candidate, {"quality": {}, "latency": {}})
    assert calls == ["quality", "latency"]
    assert {"quality", "latency"} <= found.keys()
