"""Candidates near the front that are trained on for a few steps, as a run does it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
import torch
from fakes import Listener, run_in, tiny_study

from nas import Adaptation
from nas.errors import StudyError
from nas.files import read_json
from nas.objective import Measurement, Objective
from nas.report.results import Results
from nas.runner import adapting
from nas.runner.preparation import prepare
from nas.study import Study

FEW = Adaptation(candidates=10, steps=3)


def study(adaptation: Adaptation | None = FEW) -> Study:
    winners = dataclasses.replace(tiny_study().winners, adaptation=adaptation)
    return tiny_study(evaluations=12, winners=winners)


def adapted_run(path: Path, monkeypatch: pytest.MonkeyPatch, *, gains: bool) -> tuple[Results, Listener]:
    monkeypatch.setattr(adapting, "pays", lambda *_: gains)
    listener = Listener()
    return run_in(study(), path, listener), listener


def test_where_it_gains_winners_are_chosen_by_what_candidates_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, listener = adapted_run(tmp_path, monkeypatch, gains=True)
    reached = {path.stem: read_json(path)["result"] for path in (tmp_path / "adapted").glob("*.json")}
    assert len(reached) == 10
    assert any(
        s.startswith("10 candidates near the front were trained for 3 steps") for s in listener.sentences
    )
    assert {winner.id for winner in results.winners} <= reached.keys()
    best = max(value["quality"]["value"] for value in reached.values())
    assert reached[results.winners[0].id]["quality"]["value"] == best
    assert "a few steps of their own" in results.facts["winners_chosen_by"]
    assert results.facts["seconds"]["adaptation"] == sum(value["seconds"] for value in reached.values())
    assert results.facts["adaptation"] in (tmp_path / "report.md").read_text().replace("10 Cand", "10 cand")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "adapted").glob("*.json")}
    again, _ = adapted_run(tmp_path, monkeypatch, gains=True)
    assert again.winners == results.winners
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_where_it_gains_nothing_eight_are_enough_and_the_search_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, listener = adapted_run(tmp_path, monkeypatch, gains=False)
    assert len(list((tmp_path / "adapted").glob("*.json"))) == 8
    assert any(": no more than the noise" in sentence for sentence in listener.sentences)
    assert "front" in results.facts["winners_chosen_by"]


@pytest.mark.parametrize(
    "quiet",
    [study(None), tiny_study(), study(Adaptation(candidates=7))],
    ids=["off", "few evaluated", "few asked"],
)
def test_otherwise_nothing_is_done(tmp_path: Path, quiet: Study) -> None:
    results = run_in(quiet, tmp_path)
    assert not (tmp_path / "adapted").exists()
    assert results.facts["adaptation"] is None
    assert "adaptation" not in results.facts["seconds"]


def test_a_few_steps_of_many_items_are_a_part_of_an_epoch() -> None:
    train = prepare(tiny_study(), torch.device("cpu")).splits.train
    recipe = tiny_study().recipe
    steps = len(train) // recipe.batch_size // 2
    part, short = adapting._short(train, recipe, steps, 0)
    assert (len(part), short.epochs) == (steps * recipe.batch_size, 1)
    whole, longer = adapting._short(train, recipe, 6 * steps, 0)
    assert len(whole) == len(train)
    assert longer.epochs in (2, 3)


def test_an_adaptation_of_nothing_is_refused() -> None:
    for wrong in ({"candidates": 0}, {"steps": 0}):
        with pytest.raises(StudyError, match="must be 1 or more"):
            Adaptation(**wrong)


@pytest.mark.parametrize(
    ("before", "after", "direction", "expected"),
    [
        ([0.90, 0.91], [0.93, 0.95], "maximize", True),
        ([0.90, 0.91], [0.91, 0.92], "maximize", False),  # within the noise of a gain
        ([0.90, 0.91], [0.80, 0.81], "maximize", False),  # it was spoilt
        ([0.90, 0.91], [0.80, 0.81], "minimize", True),
    ],
)
def test_it_pays_where_the_mean_gain_exceeds_the_noise(
    before: list[float], after: list[float], direction: Literal["maximize", "minimize"], expected: bool
) -> None:
    quality = Objective("quality", "", direction)
    pairs = [
        (Measurement(one, 0.01, "", "", 1), Measurement(other, 0.01, "", "", 1))
        for one, other in zip(before, after, strict=True)
    ]
    assert adapting.pays(quality, pairs) is expected
