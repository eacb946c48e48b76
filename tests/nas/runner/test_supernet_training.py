from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from fakes import tiny_study
from torch import Tensor, nn

from nas.errors import OutOfMemoryError, TrainingError
from nas.protocols import Split
from nas.runner.directory import RunDirectory, Silent
from nas.runner.preparation import prepare
from nas.runner.supernet_training import recalibrate_on, train_supernet


class Small(nn.Module):
    """Batch norm on a device that holds so many images."""

    def __init__(self, fit: int) -> None:
        super().__init__()
        self.norm, self.fit = nn.BatchNorm2d(2), fit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        normal: Tensor = self.norm(images)
        return normal


def test_recalibration_takes_fewer_images_where_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    split = Split(torch.randn(600, 2, 4, 4), torch.zeros(600, dtype=torch.int64))
    whole, small = Small(1000), Small(70)
    recalibrate_on(whole, split, torch.device("cpu"))
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        recalibrate_on(small, split, torch.device("cpu"))
    assert "it is done with 64" in caplog.text
    assert torch.allclose(whole.norm.running_mean, small.norm.running_mean, atol=1e-6)
    with pytest.raises(OutOfMemoryError, match="single image"):
        recalibrate_on(Small(0), split, torch.device("cpu"))


@pytest.mark.parametrize("count", [257, 3600])
def test_recalibration_sees_all_classes_and_every_image_counts_the_same(count: int) -> None:
    labels = torch.arange(count) * 4 // count
    images = labels.view(-1, 1, 1, 1).float().repeat(1, 2, 4, 4)
    module = Small(1000)
    recalibrate_on(module, Split(images, labels), torch.device("cpu"))
    assert module.norm.running_mean is not None
    assert module.norm.running_mean.tolist() == pytest.approx([1.5, 1.5], abs=0.1)


def test_a_supernet_that_does_not_fit_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared = prepare(tiny_study(), torch.device("cpu"))

    def full(*_args: object, **_settings: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(nn.Module, "to", full)
    with pytest.raises(TrainingError, match="a smaller largest network, or another device"):
        train_supernet(prepared, RunDirectory(tmp_path), Silent())
