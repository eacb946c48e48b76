"""Runs whose candidates' weights come from elsewhere than the sandwich rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from fakes import Listener, digests, run_in, tiny_network, tiny_study
from scratch_runs import StopError, StopsAfter, scratch_study

from nas import (
    Constraint,
    NoTraining,
    NumParams,
    ProgressiveShrinking,
    Recipe,
    SinglePath,
    Winners,
)
from nas.errors import InfeasibleError, StudyChangedError, StudyError
from nas.files import read_json
from nas.runner import assist
from nas.runner.preparation import prepare
from nas.training import Ranks


@pytest.mark.parametrize("training", [ProgressiveShrinking(), SinglePath()], ids=repr)
def test_other_recipes_resume_to_the_same_weights(tmp_path: Path, training: Any) -> None:
    study = tiny_study(training=training, recipe=Recipe(epochs=6, batch_size=64), evaluations=2)

    out = tmp_path / "stopped"
    for steps in (1, 3):
        with pytest.raises(StopError):
            run_in(study, out, StopsAfter(steps))
    listener = Listener()
    run_in(study, out, listener)
    run_in(study, tmp_path / "whole")
    assert digests(out / "supernet", "*.safetensors") == digests(
        tmp_path / "whole" / "supernet", "*.safetensors"
    )
    assert len([step for step in listener.steps if step[0] == "train supernet"]) == 2
    assert {path.name for path in (out / "supernet").iterdir()} == {*("weights.safetensors", "training.json")}


def test_weights_from_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = {name: value.contiguous() for name, value in tiny_network_state().items()}
    (tmp_path / "mine.safetensors").write_bytes(safetensors.torch.save(state))
    study = tiny_study(training=NoTraining(), weights=tmp_path / "mine.safetensors")
    results = run_in(study, tmp_path / "run")
    used = safetensors.torch.load((tmp_path / "run" / "supernet" / "weights.safetensors").read_bytes())
    assert all(torch.equal(used[f"module.{name}"], value) for name, value in state.items())
    assert read_json(tmp_path / "run" / "supernet" / "training.json")["result"]["losses"] == []
    assert results.trust is not None
    state["0.weight"] += 1
    (tmp_path / "mine.safetensors").write_bytes(safetensors.torch.save(state))
    with pytest.raises(StudyChangedError, match="weights was"):
        run_in(study, tmp_path / "run")


def test_weights_may_be_made_by_a_run_and_are_those_of_the_file(tmp_path: Path) -> None:
    file, cpu = tmp_path / "mine.safetensors", torch.device("cpu")

    def made(device: torch.device) -> Path:
        assert device == cpu
        if not file.exists():
            torch.manual_seed(7)
            file.write_bytes(safetensors.torch.save(tiny_network_state()))
        return file

    prepared = prepare(tiny_study(weights=made), cpu)
    known = prepare(tiny_study(weights=file), cpu)
    assert prepared.description() == known.description()
    found, expected = prepared.supernet.state_dict(), known.supernet.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_nothing_is_made_for_a_study_that_can_not_run() -> None:
    def never(_: torch.device) -> Path:
        raise AssertionError("made")

    with pytest.raises(InfeasibleError, match="Nothing was trained"):
        prepare(tiny_study(weights=never, constraints=(Constraint(NumParams(), 1),)), torch.device("cpu"))


def test_a_function_that_can_not_make_weights_is_a_sentence() -> None:
    def fails(_: torch.device) -> Path:
        raise OSError("no\nnetwork")

    with pytest.raises(StudyError, match="makes the weights of study 'tiny' failed") as caught:
        prepare(tiny_study(weights=fails), torch.device("cpu"))
    assert "\n" not in str(caught.value)


def tiny_network_state() -> dict[str, torch.Tensor]:
    from nas import Supernet

    return dict(Supernet(tiny_network()).module.state_dict())


@pytest.mark.parametrize("content", [None, b"no weights", b""])
def test_weights_that_do_not_fit_are_told_before_anything_is_paid(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "mine.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StudyError, match="don't fit its network") as caught:
        run_in(tiny_study(weights=file), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.db"))


def test_half_precision_on_a_cpu_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    winners = Winners(recipe=Recipe(epochs=1, precision="float16"))
    with pytest.raises(StudyError, match="bfloat16"):
        run_in(tiny_study(winners=winners), tmp_path / "run")


def test_several_processes_have_nothing_to_train_without_a_supernet(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no supernet that several processes could train"):
        assist(scratch_study(), tmp_path, training_device=torch.device("cpu"), ranks=Ranks(rank=1, size=2))
