from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nas import Accuracy
from nas.errors import NasError
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate, Counts
from nas.space import FloatArray
from nas.testing import (
    check_counted_objective,
    check_measured_objective,
)


@dataclass
class Cost:
    """A counted objective that counts with a function."""

    function: Callable[[Counts], Any]
    objective: Objective = Objective("cost", "", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        return self.function(counts)  # type: ignore[no-any-return]


def spoil(counts: Counts) -> FloatArray:
    counts.macs[:] = 0
    return counts.num_params.astype(np.float64)


@pytest.mark.parametrize(
    "function",
    [
        lambda counts: np.log(counts.macs - 1.0),
        lambda counts: counts.macs.sum() * np.ones(1),
        lambda counts: counts.macs / counts.macs.max(),
        lambda counts: np.random.default_rng().random(len(counts.macs)),
        lambda counts: np.arange(len(counts.macs), dtype=np.float64),
        lambda counts: counts.macs / (counts.stored_bytes is None),
        spoil,
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")  # which some are there for
def test_a_faulty_counted_objective_is_found(function: Callable[[Counts], Any]) -> None:
    with pytest.raises(AssertionError):
        check_counted_objective(Cost(function))


@dataclass
class Measured:
    """Accuracy with one fault."""

    fault: str
    objective: Objective = Accuracy().objective

    def calibrate(self) -> dict[str, float]:
        return {"x": np.float32(1.0)} if self.fault == "no JSON" else {}  # type: ignore[dict-item]

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        good = MeasuredQuality(Accuracy()).measure(candidates, bench)
        changes: dict[str, dict[str, Any]] = {
            "unit": {"unit": "%"},
            "nan": {"value": float("nan")},
            "spread": {"spread": -1.0},
            "repeats": {"repeats": 0},
        }
        if self.fault == "one for all":
            return good[:1]
        if self.fault == "thorough" and bench.thorough:
            return []
        return [dataclasses.replace(m, **changes.get(self.fault, {})) for m in good]


@pytest.mark.parametrize("fault", ["no JSON", "unit", "nan", "spread", "repeats", "one for all", "thorough"])
def test_a_faulty_measured_objective_is_found(fault: str) -> None:
    with pytest.raises((AssertionError, NasError, TypeError)):
        check_measured_objective(Measured(fault))
