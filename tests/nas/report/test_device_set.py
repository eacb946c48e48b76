"""A few models for several devices."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import exact

from nas.errors import ObjectiveError
from nas.objective import Measurement, Objective
from nas.report.device_set import choose_device_set
from nas.report.results import Results, Variant, Winner

OBJECTIVES = (
    Objective("accuracy", "", "maximize"),
    Objective("latency_ms_pi", "ms", "minimize"),
    Objective("latency_ms_server", "ms", "minimize"),
)


def winner(id_: str, accuracy: float, pi: float, server: float, *, on_front: bool = True) -> Winner:
    found = (
        exact(accuracy),
        Measurement(pi, 0.1, "ms", "pi", 9),
        Measurement(server, 0.01, "ms", "server", 9),
    )
    values = dict(zip([o.name for o in OBJECTIVES], found, strict=True)) | {"file_bytes": exact(1000 * pi)}
    variant = Variant("fp32", "model.onnx", values, on_front)
    return Winner(id_, 0, {}, 1, 1, None, {}, exact(accuracy), variants=(variant,))


@pytest.fixture
def results(tiny_run: Path) -> Results:
    """Of large to small; the server runs the large ones fastest, beside its own favourite."""
    winners = (
        winner("large", 0.95, 90.0, 3.0),
        winner("middle", 0.94, 20.0, 4.0),
        winner("small", 0.90, 10.0, 5.0),
        winner("beaten", 0.89, 11.0, 6.0, on_front=False),
    )
    return replace(Results.read(tiny_run / "report.json"), objectives=OBJECTIVES, winners=winners)


def test_one_model_may_do_for_all(results: Results) -> None:
    found = choose_device_set(results, {"latency_ms_pi": 30.0, "latency_ms_server": 4.5}, 1.0)
    assert found.sentence() == "1 model keeps every device within 1 point of its own best: middle fp32"
    head, *rows = [found.devices_table().head, *found.devices_table().rows]
    assert head == ["device", "limit", "its own best", "of the set", "measured", "lost"]
    assert rows[0] == [
        "latency pi",
        "30 ms",
        "middle fp32, 94.00 %",
        "middle fp32, 94.00 %",
        "20 ms",
        "0 points",
    ]
    assert rows[1][2:] == ["large fp32, 95.00 %", "middle fp32, 94.00 %", "4 ms", "1 point"]


def test_where_one_does_not_do_two_are_named_and_what_one_would_cost(results: Results) -> None:
    found = choose_device_set(results, {"latency_ms_pi": 30.0, "latency_ms_server": 3.5}, 0.5)
    assert (
        found.sentence()
        == "2 models keep every device within 0.5 points of its own best: large fp32, middle fp32"
    )
    assert [row[0] for row in found.sizes_table().rows] == ["1", "2"]
    assert found.sizes_table().rows[0][2] == "1 without a model"
    plain = found.to_json()
    assert [model["model"] for model in plain["models"]] == ["large", "middle"]
    assert [device["chosen"]["model"] for device in plain["devices"]] == ["middle", "large"]


def test_unless_told_otherwise_each_latency_has_its_median_for_a_limit(results: Results) -> None:
    found = choose_device_set(results, {}, 1.0)
    assert [(o.name, limit) for o, limit in found.devices] == [
        ("latency_ms_pi", 20.0),
        ("latency_ms_server", 4.0),
    ]


def test_any_column_may_be_limited(results: Results) -> None:
    found = choose_device_set(results, {"file_bytes": 10_000.0}, 0.0)
    assert found.sentence().endswith("own best: small fp32")


def test_a_quality_that_is_no_rate_is_counted_in_its_unit(results: Results) -> None:
    error = Objective("rmse", "km", "minimize")

    def with_errors(one: Winner) -> Winner:
        (variant,) = one.variants
        values = {**variant.values, "rmse": exact(100 * (1 - variant.values["accuracy"].value))}
        return replace(one, variants=(replace(variant, values=values),))

    winners = tuple(map(with_errors, results.winners))
    changed = replace(results, objectives=(error, *OBJECTIVES[1:]), winners=winners)
    found = choose_device_set(changed, {"latency_ms_pi": 30.0, "latency_ms_server": 3.5}, 1.0)
    assert found.sentence().startswith("2 models keep every device within 1 km of its own best")


@pytest.mark.parametrize(
    ("limits", "points", "message"),
    [
        ({"latency_ms_phone": 1.0}, 1.0, "no column 'latency_ms_phone' to limit: choose among"),
        ({"accuracy": 0.9}, 1.0, "no column 'accuracy' to limit"),
        ({"latency_ms_pi": math.nan}, 1.0, "the limit of 'latency_ms_pi' is nan"),
        (
            {"latency_ms_pi": 9.0},
            1.0,
            "no model of the front has latency_ms_pi of at most 9: the lowest is 10",
        ),
        ({}, -1.0, "the points that a device may lose are -1"),
        ({}, math.nan, "the points that a device may lose are nan"),
    ],
)
def test_what_has_no_sense_is_a_sentence(
    results: Results, limits: dict[str, float], points: float, message: str
) -> None:
    with pytest.raises(ObjectiveError, match=message):
        choose_device_set(results, limits, points)


def test_a_run_without_latencies_needs_limits(results: Results) -> None:
    with pytest.raises(ObjectiveError, match="no objective that begins with 'latency_ms': name a limit"):
        choose_device_set(replace(results, objectives=OBJECTIVES[:1]), {}, 1.0)
