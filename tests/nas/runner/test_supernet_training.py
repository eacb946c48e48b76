from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_study
from torch import nn

from nas.errors import DamagedFileError, StudyError, TrainingError
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.supernet import Supernet
from nas.task import Task
from nas.training import Recipe
from nas.training.phases import Phase


def test_a_supernet_that_does_not_fit_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))

    def full(*_args: object, **_settings: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(nn.Module, "to", full)
    with pytest.raises(TrainingError, match="a smaller largest network, or another device"):
        train_supernet(prepared, RunDirectory(tmp_path), Silent())


@pytest.mark.parametrize("content", ["", "[1.5", "{}", "null", "[null]", '["1"]'])
def test_damaged_seconds_of_a_training_under_way_are_one_sentence(tmp_path: Path, content: str) -> None:
    prepared, run = prepare(tiny_study(), torch.device("cpu")), RunDirectory(tmp_path)
    run.supernet.mkdir()
    (run.supernet / "seconds.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r"seconds\.json is damaged .*delete it"):
        train_supernet(prepared, run, Silent())


@dataclass(frozen=True)
class Own:
    made: Callable[[Recipe], object] = field(repr=False)

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Any:
        return self.made(recipe)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda recipe: [][1], r"phases\(\) of the study's training failed"),
        (lambda recipe: sys.exit(), r"phases\(\) .* failed \(SystemExit"),
        (lambda recipe: None, r"phases\(\) .* failed \(TypeError"),
        (lambda recipe: [3], r"result\[0\]=3: a nas.training.phases.Phase"),
        (lambda recipe: [Phase("own", None, lambda: None)], "recipe=None"),  # type: ignore[arg-type,return-value]
        (lambda recipe: [Phase("own", recipe, lambda: [][1])], r"step\(\) of .* 'own' failed"),
        (lambda recipe: [Phase("own", recipe, lambda: 3)], "result=3: a function"),  # type: ignore[arg-type,return-value]
    ],
)
def test_a_training_of_ones_own_that_is_none_is_a_sentence(
    tmp_path: Path, made: Callable[[Recipe], object], message: str
) -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))
    prepared = dataclasses.replace(prepared, study=dataclasses.replace(prepared.study, training=Own(made)))
    with pytest.raises(StudyError, match=message):
        train_supernet(prepared, RunDirectory(tmp_path), Silent())
