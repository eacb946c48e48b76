from __future__ import annotations

from pathlib import Path

import torch
from fakes import tiny_study
from torch import nn

from nas import FromScratch, NoTraining
from nas.export.folder import save_weights
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.runner.origin import outside_weights
from nas.runner.preparation import prepare
from nas.runner.weights import weights_of
from nas.supernet import elastic_module

CPU = torch.device("cpu")


def existing_network() -> nn.Module:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    return elastic_module(plain, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_where_weights_come_from(tmp_path: Path, tiny_run: Path) -> None:
    def told(**changes: object) -> str | None:
        prepared = prepare(tiny_study(**changes), CPU)
        return outside_weights(prepared, weights_of(prepared, RunDirectory(tmp_path)))

    save_weights(tmp_path / "own.safetensors", tiny_study().network())
    assert told() is None
    assert told(training=FromScratch(), network=existing_network) is None
    assert "that the study's network is made with" in str(told(training=NoTraining()))
    assert "that the study's network is made with" in str(told(network=existing_network))
    assert "a file of the study's own (SHA-256" in str(told(weights=tmp_path / "own.safetensors"))
    assert Results.read(tiny_run / "report.json").facts["outside_weights"] is None
    assert "not known" not in (tiny_run / "report.md").read_text()
