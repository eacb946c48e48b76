from __future__ import annotations

import pytest
import torch
from torch import nn

from nas import choice
from nas.supernet import Supernet, elastic, order_by_importance


@pytest.fixture
def supernet() -> Supernet:
    """Return a network in which every other channel does nothing."""
    torch.manual_seed(0)
    width, hidden = choice("width", 3, 6), choice("hidden", 4, 8)
    network = nn.Sequential(
        elastic.Conv2d(3, width, 3, bias=False),
        elastic.BatchNorm2d(width),
        elastic.Repeat(
            lambda _: nn.Sequential(
                elastic.Conv2d(width, hidden, 1, bias=False),
                elastic.Conv2d(hidden, hidden, 3, padding="same", groups=hidden),
                elastic.Conv2d(hidden, width, 1),
            ),
            times=choice("depth", 0, 1),
        ),
        elastic.Conv2d(width, 5, 1),
    )
    for norm in (m for m in network.modules() if isinstance(m, elastic.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        for parameter in list(network.parameters())[:-1]:  # the last is the bias of the output
            parameter[::2] = 0 if len(parameter) != 5 else parameter[::2]
    return Supernet(network).eval()


def test_the_whole_network_computes_what_it_did_and_a_narrow_one_keeps_what_matters(
    supernet: Supernet,
) -> None:
    images = torch.randn(2, 3, 8, 8)
    space = supernet.space
    narrow = space.architecture({"width": 3, "hidden": 4, "depth": 1})
    expected = supernet(images)
    with supernet.active(narrow):
        assert not torch.allclose(supernet(images), expected, atol=1e-3)
    order_by_importance(supernet, images)
    torch.testing.assert_close(supernet(images), expected)
    with supernet.active(narrow):
        torch.testing.assert_close(supernet(images), expected)
    torch.testing.assert_close(supernet.extract(narrow)(images), expected)
