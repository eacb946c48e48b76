from __future__ import annotations

import logging

import pytest
import torch
from fakes import tiny_network
from torch import Tensor, nn

from nas.errors import OutOfMemoryError
from nas.splits import Split
from nas.supernet import Supernet, recalibrate
from nas.supernet.recalibrate import extract_recalibrated, recalibrate_on


def test_statistics_are_the_average_over_the_batches() -> None:
    norm = nn.BatchNorm2d(2)
    norm.running_mean.fill_(99)  # type: ignore[union-attr]
    batches = [torch.randn(8, 2, 3, 3) + shift for shift in (0.0, 10.0)]
    recalibrate(norm, batches)
    means = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    variances = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, means, atol=1e-6)
    assert torch.allclose(norm.running_var, variances, atol=1e-5)


def test_recalibrating_twice_changes_nothing() -> None:
    supernet = Supernet(tiny_network()).eval()
    images = torch.randn(16, 1, 8, 8)
    recalibrate(supernet, [images])
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    recalibrate(supernet, [images])
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_momentum_stay_also_after_an_error(training: bool) -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1, momentum=0.3)).train(training)

    class StopError(Exception):
        pass

    def batches() -> object:
        yield torch.zeros(2, 1, 2, 2)
        raise StopError

    with pytest.raises(StopError):
        recalibrate(module, batches())  # type: ignore[arg-type]
    assert {m.training for m in module.modules()} == {training}
    assert module[1].momentum == 0.3


def test_dropout_is_off_meanwhile() -> None:
    module = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1)).train()
    recalibrate(module, [torch.ones(4, 1, 2, 2)])
    assert module[1].running_mean.item() == 1.0


def test_weights_are_not_changed() -> None:
    supernet = Supernet(tiny_network())
    before = [p.detach().clone() for p in supernet.parameters()]
    recalibrate(supernet, [torch.randn(8, 1, 8, 8)])
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.parameters(), strict=True))


def test_a_module_without_batch_norm_is_not_even_run() -> None:
    class Counts(nn.Module):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            return images

    module = Counts()
    recalibrate(module, [torch.zeros(1)])
    assert module.calls == 0


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


@pytest.mark.parametrize("items", [0, 20, 100])
def test_a_subnet_is_recalibrated_on_so_many_items(items: int) -> None:
    supernet = Supernet(tiny_network()).eval()
    images = torch.randn(60, 1, 8, 8) + 5
    split = Split(images, torch.zeros(60, dtype=torch.int64))
    largest = supernet.space.largest()
    expected = supernet.extract(largest)
    if items:
        recalibrate(expected, [split.sample(items)])
    found = extract_recalibrated(supernet, largest, split, items).state_dict()
    assert all(torch.allclose(value, found[name], atol=1e-4) for name, value in expected.state_dict().items())
