from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import tiny_study
from torch import nn

from nas.errors import DamagedFileError, TrainingError
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet


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
