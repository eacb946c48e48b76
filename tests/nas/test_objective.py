from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from nas.errors import EvaluationError, ObjectiveError
from nas.objective import Measurement, Objective, combine_measurements


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
        measurement.check_unit("latency_ms")


@pytest.mark.parametrize(
    ("value", "spread"), [(math.nan, 0.0), (math.inf, 0.0), (1.0, math.nan), (-math.inf, 1.0), (1e308, 0.0)]
)
def test_a_number_that_is_not_finite_is_no_measurement(value: float, spread: float) -> None:
    with pytest.raises(EvaluationError, match="'latency_ms'"):
        Measurement(value, spread, "ms", "", 1).check_unit("latency_ms")


@pytest.mark.parametrize("no_number", [None, "0.9", [0.9], np.ones(2), torch.ones(2), 10**400])
@pytest.mark.parametrize("name", ["value", "spread"])
def test_what_is_no_number_is_refused(name: str, no_number: object) -> None:
    with pytest.raises(ObjectiveError, match=f"the {name} of a measurement is of type") as caught:
        Measurement(**{"value": 1.0, "spread": 0.0, "unit": "", "device": "", "repeats": 1, name: no_number})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_measurement_survives_json() -> None:
    measurement = Measurement(1.25, 0.5, "ms", "some CPU", 40)
    assert measurement.check_unit("latency_ms") is measurement
    assert Measurement(**json.loads(json.dumps(measurement.to_json()))) == measurement


def in_ms(value: float, spread: float, repeats: int = 100) -> Measurement:
    return Measurement(value, spread, "ms", "a device", repeats)


@pytest.mark.parametrize(
    ("measurements", "expected"),
    [
        ([in_ms(2.0, 0.1)], in_ms(2.0, 0.1)),
        ([in_ms(2.0, 0.1)] * 4, in_ms(2.0, 0.05, 400)),
        ([in_ms(2.0, 0.01), in_ms(4.0, 0.01)], in_ms(3.0, 1.0, 200)),  # they differ by more than each knows
        ([in_ms(2.0, 0.3), in_ms(2.0, 0.4)], in_ms(2.0, 0.25, 200)),
        ([in_ms(1.0, 0.0, 300), in_ms(2.0, 0.0, 100)], in_ms(1.25, math.sqrt(0.1875), 400)),
    ],
)
def test_measurements_of_one_thing_are_combined(
    measurements: list[Measurement], expected: Measurement
) -> None:
    found = combine_measurements(measurements)
    assert (found.value, found.spread) == pytest.approx((expected.value, expected.spread))
    assert (found.unit, found.device, found.repeats) == ("ms", "a device", expected.repeats)


def test_the_spread_of_combined_measurements_is_how_far_they_are_off() -> None:
    """Of 2,000 times five measurements with unseen differences between them: 95 % lie within two spreads or so."""
    rng = np.random.default_rng(0)
    off = []
    for _ in range(2000):
        found = combine_measurements([in_ms(value, 0.01) for value in rng.normal(1.0, 0.03, 5)])
        off.append(abs(found.value - 1.0) / found.spread)
    assert np.mean(np.array(off) < 2.78) == pytest.approx(
        0.95, abs=0.02
    )  # Student's t of four degrees of freedom
