"""Objectives that misbehave."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import run_in, tiny_study
from optuna.trial import TrialState
from run_folders import trials

from nas import (
    Accuracy,
)
from nas.errors import (
    EvaluationError,
    StudyChangedError,
)
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate


@dataclasses.dataclass
class Moody:
    """A quality that raises or gives what it is told to."""

    search: float | Exception = 0.5
    final: float | Exception = dataclasses.field(default=0.5, repr=False)  # the study doesn't change with it
    objective: Objective = Objective("mood", "", "maximize")

    def calibrate(self) -> dict[str, float]:
        return {"zero": 0.0}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        value = self.final if bench.thorough else self.search
        if isinstance(value, Exception):
            raise value
        return [Measurement(value, 0.0, "", "", 1) for _ in candidates]


def test_when_every_evaluation_fails_there_are_no_winners(tmp_path: Path) -> None:
    study = tiny_study(objectives=(Accuracy(), Moody(search=OSError("unplugged"))))
    with pytest.raises(EvaluationError) as caught:
        run_in(study, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "winners").exists()
    assert [state for _, state, _, _ in trials(tmp_path / "run")] == [TrialState.FAIL] * 6


@pytest.mark.parametrize("final", [float("nan"), OSError("unplugged")])
def test_an_objective_that_fails_on_the_winners_is_one_sentence_and_can_be_mended(
    tmp_path: Path, final: float | Exception
) -> None:
    moody = Moody(final=final)
    with pytest.raises(EvaluationError, match="mood") as caught:
        run_in(tiny_study(objectives=(Accuracy(), moody)), tmp_path / "run")
    assert "\n" not in str(caught.value)
    before = trials(tmp_path / "run")
    moody.final = 0.5
    results = run_in(tiny_study(objectives=(Accuracy(), moody)), tmp_path / "run")
    assert all(v.values["mood"].value == 0.5 for winner in results.winners for v in winner.variants)
    assert trials(tmp_path / "run") == before


@pytest.mark.draws
def test_one_objective_that_is_constant_is_a_study(tmp_path: Path) -> None:
    results = run_in(tiny_study(objectives=(Moody(),)), tmp_path / "run")
    assert len(results.values) == 6
    assert len(results.winners) == 1
    assert (tmp_path / "run" / "front.png").exists()
    assert (tmp_path / "run" / "report.md").exists()


def test_calibration_is_made_once_and_stored(tmp_path: Path) -> None:
    class Counting(Moody):
        calls = 0

        def calibrate(self) -> dict[str, float]:
            type(self).calls += 1
            return {"reference": 1.5}

    study = tiny_study(objectives=(Accuracy(), Counting()))
    for _ in range(2):
        run_in(study, tmp_path / "run")
    assert Counting.calls == 1


def test_another_processor_is_refused_where_something_was_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(objectives=(Accuracy(), Moody()))
    run_in(study, tmp_path / "run")
    monkeypatch.setattr("nas.runner.measuring.processor_name", lambda: "Another 9000")
    with pytest.raises(StudyChangedError, match="Another 9000"):
        run_in(study, tmp_path / "run")
