"""Measuring a candidate in the search."""

from __future__ import annotations

import dataclasses
import math
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from fakes import exact, run_in, tiny_study

from nas import Accuracy, LatencyMs, Trust
from nas.errors import EvaluationError, ObjectiveError
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Calibration, Candidate, MeasuredObjective
from nas.runner.compressing import compress_in_search
from nas.runner.measuring import Known, calibrate_objective, evaluate_architecture, measure_candidates
from nas.runner.preparation import prepare
from nas.splits import Split


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
        ((Accuracy(), LatencyMs(measurements=10)), "cpu", False),
    ],
)
def test_the_engine_follows_from_the_study_alone(
    objectives: tuple[MeasuredObjective, ...], device: str, runs_exported: bool
) -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    prepared = dataclasses.replace(prepared, measured=objectives, training_device=torch.device(device))
    assert prepared.runs_exported == runs_exported


@dataclass(frozen=True)
class OnBoard(Recorded):
    """One that a device tells."""

    models: list[bytes] = field(default_factory=list, repr=False)

    def check_device(self, calibration: Calibration) -> None:
        """It is the only one."""

    def check_models(self, models: Sequence[bytes]) -> None:
        """It runs all."""

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.models.extend(candidate.onnx_model for candidate in candidates)
        return super().measure(candidates, bench)


def test_what_devices_tell_is_measured_at_last_and_elsewhere(tmp_path: Path) -> None:
    calls: list[str] = []
    prepared = prepare(tiny_study(), torch.device("cpu"))
    board = OnBoard("latency", calls)
    measured = (Recorded("quality", calls), board, Recorded("robustness", calls))
    prepared = dataclasses.replace(prepared, measured=measured)
    architecture = prepared.problem.space.smallest()
    made = compress_in_search(prepared, architecture, prepared.supernet.extract(architecture))
    known: Known = {name: {} for name in ("quality", "latency", "robustness")}
    found = evaluate_architecture(prepared, architecture, made, known)
    assert calls == ["quality", "robustness"]
    sent = pickle.loads(pickle.dumps(dataclasses.replace(found, leftovers=(tmp_path / "left.pt",))))
    (tmp_path / "left.pt").touch()
    assert {"quality", "latency", "robustness"} <= sent.on_devices(prepared, known).keys()
    assert calls == ["quality", "robustness", "latency"]
    assert board.models == [made.candidate(prepared).onnx_model]
    assert not (tmp_path / "left.pt").exists()


class Own(Recorded):
    """An objective whose methods are given."""

    def __init__(self, result: Callable[[], object]) -> None:
        super().__init__("own", [])
        object.__setattr__(self, "result", result)

    def calibrate(self) -> Any:
        return self.result()  # type: ignore[attr-defined]

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> Any:
        return self.result()  # type: ignore[attr-defined]


ONE = exact(1.0)
BENCH = Bench(Split(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)), thorough=True, calibration={})


@pytest.mark.parametrize(
    "result",
    [
        lambda: [][1],
        lambda: sys.exit(),
        lambda: None,
        lambda: 1.0,
        lambda: ONE,
        lambda: "ab",
        lambda: {0: ONE, 1: ONE},
        lambda: torch.ones(2),
        lambda: (ONE for _ in range(2)),
        lambda: [1.0, 2.0],
        lambda: [ONE],
        lambda: [ONE, ONE, ONE],
        lambda: [ONE, exact(math.nan)],
    ],
)
def test_what_is_not_one_measurement_per_candidate_is_a_sentence(result: Callable[[], object]) -> None:
    with pytest.raises(EvaluationError, match="objective 'own'") as caught:
        measure_candidates(Own(result), cast(Any, [object(), object()]), BENCH, of_device=False)
    assert "\n" not in str(caught.value)


def test_a_tuple_of_measurements_will_do() -> None:
    assert measure_candidates(
        Own(lambda: (ONE, ONE)), cast(Any, [object(), object()]), BENCH, of_device=False
    ) == [
        ONE,
        ONE,
    ]


@pytest.mark.parametrize(
    "result",
    [
        lambda: [][1],
        lambda: sys.exit(),
        lambda: None,
        lambda: [1],
        lambda: torch.tensor(1.0),
        lambda: {"a": b"b"},
        lambda: {"a": object()},
        lambda: {"a": np.ones(3)},
        lambda: {"a": math.nan},
        lambda: {"a": 10**400},
        lambda: {"\ud800": 1.0},
    ],
)
def test_a_calibration_that_can_not_be_stored_is_a_sentence(result: Callable[[], object]) -> None:
    with pytest.raises(ObjectiveError, match=r"calibrate\(\) of objective 'own'") as caught:
        calibrate_objective(Own(result))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [2, np.float32(2), torch.tensor(2.0), np.int64(2)])
def test_a_calibration_becomes_plain_numbers(number: object) -> None:
    found = calibrate_objective(Own(lambda: {"watts": number}))
    assert found == {"watts": 2.0}
    assert type(found["watts"]) is float
