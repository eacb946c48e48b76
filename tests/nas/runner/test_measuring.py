"""Measuring a candidate in the search."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from fakes import exact, tiny_study

from nas.evaluation import SubnetCandidate
from nas.objective import Measurement, Objective
from nas.protocols import Bench, Candidate
from nas.runner.measuring import measurements
from nas.runner.preparation import prepare


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


def test_the_quality_comes_last_when_a_latency_has_exported_the_candidate() -> None:
    calls: list[str] = []
    prepared = prepare(tiny_study(), torch.device("cpu"))
    measured = tuple(Recorded(name, calls) for name in ("quality", "latency"))
    prepared = dataclasses.replace(prepared, measured=measured)
    architecture = prepared.problem.space.smallest()
    candidate = SubnetCandidate(prepared.supernet.extract(architecture), prepared.splits.image_shape)
    found = measurements(prepared, architecture, candidate, {"quality": {}, "latency": {}})
    assert calls == ["latency", "quality"]
    assert {"quality", "latency"} <= found.keys()
