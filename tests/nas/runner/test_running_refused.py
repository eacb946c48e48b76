"""What stops a run before it pays for anything."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from fakes import digests, run_in, tiny_network, tiny_study
from filelock import FileLock
from run_folders import snapshot

from nas import (
    Constraint,
    FromScratch,
    Macs,
    NumParams,
    OptunaSampler,
)
from nas.errors import (
    EvaluationError,
    InfeasibleError,
    NasError,
    RunDirectoryError,
    StudyError,
)


def test_an_infeasible_constraint_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    study = tiny_study(constraints=(Constraint(NumParams(), 3),))
    with pytest.raises(InfeasibleError, match=r"num_params is .* at most 3 is asked for") as caught:
        run_in(study, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not digests(tmp_path / "run", "*.safetensors", "checkpoint*", "*.db", "run.json")


def test_a_search_that_finds_nothing_to_evaluate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.search.stopping._MAX_UNPAID_IN_A_ROW", 1)
    study = tiny_study(
        training=FromScratch(),
        strategy=OptunaSampler("RandomSampler"),
        constraints=(Constraint(NumParams(), 68),),  # which next to none meets
    )
    with pytest.raises(EvaluationError, match=r"nothing was evaluated.*the sampler proposed nothing new"):
        run_in(study, tmp_path / "run")


def test_a_hard_constraint_holds_for_every_trial_and_winner(tmp_path: Path) -> None:
    results = run_in(
        tiny_study(constraints=(Constraint(NumParams(), 150), Constraint(Macs(), 8000))), tmp_path / "run"
    )
    assert len(results.values) == 6
    assert all(num_params <= 150 for _, num_params in results.values)
    assert all(w.num_params <= 150 and w.macs <= 8000 for w in results.winners)
    assert results.trials["turned_down"] == 0


def test_shapes_that_do_not_fit_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="shape"):
        run_in(tiny_study(network=partial(tiny_network, channels=3)), tmp_path / "run")
    assert not digests(tmp_path / "run", "*.safetensors", "checkpoint*", "*.db")


def test_a_sampler_that_can_not_be_made_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="GridSampler"):
        run_in(tiny_study(strategy=OptunaSampler("GridSampler")), tmp_path / "run")
    assert not digests(tmp_path / "run", "*.safetensors", "checkpoint*")


def test_a_second_runner_is_refused(tiny_run: Path) -> None:
    before = snapshot(tiny_run)
    with FileLock(tiny_run / ".lock"), pytest.raises(RunDirectoryError, match="another process is running"):
        run_in(tiny_study(), tiny_run)
    assert snapshot(tiny_run) == before


def test_a_place_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="can't be written") as caught:
        run_in(tiny_study(), tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)
