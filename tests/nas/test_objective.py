from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from nas.errors import EvaluationError, ObjectiveError
from nas.objective import Measurement, Objective


def test_costs_are_minimised_whatever_the_direction() -> None:
    quality, size = Objective("accuracy", "", "maximize"), Objective("size", "B", "minimize")
    assert quality.cost(0.9) < quality.cost(0.8)
    assert size.cost(10.0) < size.cost(20.0)
    for objective in (quality, size):
        assert objective.value(objective.cost(0.3)) == 0.3


@pytest.mark.parametrize("direction", ["", "max", "MINIMIZE", None, 5, []])
def test_an_unknown_direction_is_refused(direction: str) -> None:
    with pytest.raises(ObjectiveError, match="'minimize' or 'maximize'"):
        Objective("accuracy", "", direction)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " ", None, 5, True, b"x", ("a",), "two\nlines", "nul\0", "\ud800"])
def test_an_objective_needs_a_name_of_one_line(name: object) -> None:
    with pytest.raises(ObjectiveError, match="name"):
        Objective(name, "", "minimize")  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [None, 5, b"ms", "m\ns"])
def test_a_unit_is_text_of_one_line(unit: object) -> None:
    with pytest.raises(ObjectiveError, match="unit"):
        Objective("latency_ms", unit, "minimize")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["unit", "device"])
def test_a_measurements_texts_are_text(name: str) -> None:
    measurement = dataclasses.replace(Measurement(1.0, 0.0, "", "", 1), **{name: object()})  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="strings are expected"):
        measurement.checked("latency_ms")


@pytest.mark.parametrize(
    ("value", "spread"), [(math.nan, 0.0), (math.inf, 0.0), (1.0, math.nan), (-math.inf, 1.0), (1e308, 0.0)]
)
def test_a_number_that_is_not_finite_is_no_measurement(value: float, spread: float) -> None:
    with pytest.raises(EvaluationError, match="'latency_ms'"):
        Measurement(value, spread, "ms", "", 1).checked("latency_ms")


@pytest.mark.parametrize("no_number", [None, "0.9", [0.9], np.ones(2), torch.ones(2), 10**400])
@pytest.mark.parametrize("name", ["value", "spread"])
def test_what_is_no_number_is_refused(name: str, no_number: object) -> None:
    with pytest.raises(ObjectiveError, match=f"the {name} of a measurement is of type") as caught:
        Measurement(**{"value": 1.0, "spread": 0.0, "unit": "", "device": "", "repeats": 1, name: no_number})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_measurement_survives_json() -> None:
    measurement = Measurement(1.25, 0.5, "ms", "some CPU", 40)
    assert measurement.checked("latency_ms") is measurement
    assert Measurement(**json.loads(json.dumps(measurement.to_json()))) == measurement
