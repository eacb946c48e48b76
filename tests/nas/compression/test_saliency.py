from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pass_fakes import lab_of, random_split
from torch import nn

from nas.compression.channel_groups import channel_groups
from nas.compression.saliency import SALIENCIES, Saliency, unit_saliencies


def expected(saliency: Saliency, network: nn.Sequential) -> torch.Tensor:
    """Return what channels of the first layer matter by the loss on four items, each a batch of its own."""
    split = random_split(4, count=4)
    assert isinstance(split.inputs, torch.Tensor)
    found = torch.zeros(5, dtype=torch.float64)
    for row, target in zip(split.inputs, split.targets, strict=True):
        loss = nn.functional.cross_entropy(network(row[None]), target[None])
        tensors = [network[0].weight, network[0].bias, network[2].weight]
        gradients = torch.autograd.grad(loss, tensors)
        for tensor, gradient, dim in zip(tensors, gradients, (0, 0, 1), strict=True):
            changes = (tensor * gradient).double().movedim(dim, 0).reshape(5, -1)
            found += changes.sum(1).square() if saliency == "taylor" else changes.square().sum(1) / 2
    return (found / 4).detach()


@pytest.mark.parametrize("saliency", SALIENCIES[1:])
def test_the_loss_says_what_channels_matter(saliency: Saliency, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    (group,) = channel_groups(network, torch.zeros(2, 4))
    (found,) = unit_saliencies(saliency, [group], network, lab_of(random_split(4, count=4), tmp_path))
    assert torch.allclose(found, expected(saliency, network), rtol=1e-4)
    assert all(p.grad is None for p in network.parameters())


def test_every_layer_counts_equally_by_magnitude(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).eval()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[100.0], [100.0]]))
        network[1].weight.copy_(torch.tensor([[1.0, 3.0]]))
    (group,) = channel_groups(network, torch.zeros(2, 1))
    (found,) = unit_saliencies("magnitude", [group], network, lab_of(random_split(1), tmp_path))
    assert found.tolist() == pytest.approx([1 + 1 / 5, 1 + 9 / 5])
