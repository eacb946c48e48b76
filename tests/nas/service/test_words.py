from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nas.objective import Objective
from nas.service.models import RunModel, Trust
from nas.service.words import (
    ago,
    change,
    describe_objective,
    duration,
    label,
    now_line,
    stages,
    surrogate_figures,
)

ACCURACY = Objective("accuracy", "", "maximize")
LATENCY = Objective("latency_ms", "ms", "minimize")
MACS = Objective("macs", "", "minimize")
BYTES = Objective("weight_bytes", "B", "minimize")


def told(**more: Any) -> RunModel:
    run = {"state": "running", "stage": "search", "done": 5, "total": 20, "seconds_left": None, "note": ""}
    rest = {"stopping": False, "device": "cpu", "started": None, "finished": None}
    return RunModel.model_construct(**(run | rest | more))


def trust(predictions: list[dict[str, Any]], refits: list[dict[str, Any]]) -> Trust:
    return Trust.model_validate(
        {"predictions": predictions, "refits": refits, "rank_agreement": None, "num_compared": None}
    )


@pytest.mark.parametrize(
    ("objective", "difference", "text"),
    [
        (ACCURACY, 0.0056, "+0.56 points"),
        (LATENCY, 0.1, "+0.1 ms"),
        (LATENCY, -0.000601, "−0.0006 ms"),
        (MACS, 14_864, "+14,864"),
        (BYTES, -2048, "−2.0 KiB"),
        (MACS, 0, "±0"),
    ],
)
def test_a_change_has_its_sign_and_unit(objective: Objective, difference: float, text: str) -> None:
    assert change(objective, difference) == text


def test_rates_are_typed_in_percent_and_other_qualities_are_not() -> None:
    assert describe_objective(ACCURACY, [0.2, 0.9]).factor == 100
    assert describe_objective(Objective("score", "", "maximize"), [12.0]).factor == 1
    assert describe_objective(BYTES).shown_unit == "KiB"


def test_labels_are_words() -> None:
    assert [label(name) for name in ("latency_ms", "latency_ms_pi", "macs", "num_params", "my_score")] == [
        "latency",
        "latency pi",
        "MACs",
        "parameters",
        "my score",
    ]


def test_stages_are_done_current_or_to_come() -> None:
    assert [(s.place, s.percent) for s in stages(told())] == [
        ("done", 100),
        ("current", 25),
        ("to come", 0),
        ("to come", 0),
    ]
    adapting = [s.name for s in stages(told(stage="adapt candidates"))]
    assert adapting[1:4] == ["search", "adapt candidates", "finish winners"]
    proxy = stages(told(stage="choose proxy subset"))
    assert [s.place for s in proxy] == ["done", "current", *["to come"] * 3]
    assert stages(told(stage="pre-train supernet"))[0].place == "current"
    assert [s.place for s in stages(told(stage=""))] == ["to come"] * 4
    assert {s.place for s in stages(told(stage="done", state="finished"))} == {"done"}
    assert stages(told(stage="something new"))[-1] == ("something new", "current", 25)


def test_a_line_says_what_happens_now() -> None:
    assert now_line(told(seconds_left=130.0), 0) == (
        "Search, 5 of 20",
        "about 2 min 10 s left in this stage",
        "",
    )
    assert now_line(told(state="queued", stage=""), 2).what == "Waiting for cpu: 2 before it."
    assert now_line(told(state="paused"), 0).left == "search, 5 of 20"
    assert "Stopping" in now_line(told(stopping=True), 0).what


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (75, "1 min 15 s"), (3000, "50 min"), (7400, "2 h 3 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2026-05-02T11:59:30+00:00", "just now"),
        ("2026-05-02T11:30:00+00:00", "30 min ago"),
        ("2026-05-02T09:00:00+00:00", "3 h ago"),
        ("2026-05-01T09:00:00+00:00", "yesterday"),
        ("2026-04-22T12:00:00+00:00", "10 days ago"),
        (None, "not yet"),
    ],
)
def test_how_long_ago(time: str | None, text: str) -> None:
    assert ago(time, datetime(2026, 5, 2, 12, tzinfo=UTC)) == text


def test_surrogate_figures_are_of_the_quality_and_of_predictions_made_beforehand() -> None:
    found = {"objective": "accuracy", "num_trials": 12, "kendall_tau": None, "spearman": None, "rmse": 0.02}
    other = {**found, "objective": "latency_ms", "kendall_tau": 0.9}
    assert [f.value for f in surrogate_figures(trust([other, found], []), ACCURACY)] == ["2.00 points"]
    ranked = trust([{**found, "kendall_tau": 0.5}], [])
    assert [f.value for f in surrogate_figures(ranked, ACCURACY)] == ["2.00 points", "0.50"]
    assert surrogate_figures(None, ACCURACY) == []


def test_the_surrogates_latest_refits_are_shown_after_all_its_predictions() -> None:
    found = {"objective": "accuracy", "num_trials": 12, "kendall_tau": 0.5, "rmse": 0.02}
    late = {
        "name": "refit on 30 trials",
        "predictions": [{**found, "rmse": 0.01}, {**found, "objective": "x"}],
    }
    *_, figure = surrogate_figures(trust([found], [late]), ACCURACY)
    assert (figure.name, figure.value) == ("error, of late", "1.00 points")
    assert figure.detail == "the same for the 12 evaluations since the refit on 30 trials"


def test_earlier_refits_stand_beside_the_latest_one_and_not_as_figures_of_the_same_name() -> None:
    found = {"objective": "accuracy", "num_trials": 12, "kendall_tau": 0.5, "rmse": 0.02}
    refits = [
        {"name": f"refit on {number} trials", "predictions": [{**found, "rmse": error}]}
        for number, error in ((30, 0.04), (40, 0.03), (50, 0.01))
    ]
    figures = surrogate_figures(trust([found], refits), ACCURACY)
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    assert figures[-1].value == "1.00 points"
    assert figures[-1].detail.endswith(
        "refit on 50 trials; 4.00 points and 3.00 points since the refits before it"
    )
