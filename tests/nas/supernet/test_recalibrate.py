from __future__ import annotations

import pytest
import torch
from fakes import tiny_network
from torch import Tensor, nn

from nas.supernet import Supernet, recalibrate


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
