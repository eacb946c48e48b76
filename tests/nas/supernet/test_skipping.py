from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nas.choices import choice
from nas.supernet import Supernet
from nas.supernet.skipping import Skippable


class Scaling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.factor = 2.0

    def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        return x + self.layer(x) * self.factor + (0 if more is None else more)


class TwoInputs(nn.Module):
    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        depth = choice("depth", 0, 1, 2)
        self.blocks = nn.ModuleList([Skippable(Scaling(), i, depth, alone=alone) for i in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, more=x * block.factor)
        return x


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_last_blocks_are_left_out_and_extracted_so(depth: int) -> None:
    network = TwoInputs(alone=False)
    supernet = Supernet(network)
    architecture = supernet.space.architecture({"depth": depth})
    x = torch.randn(4, 3)
    expected = x
    for block in list(network.blocks)[:depth]:
        expected = block.block(expected, more=expected * 2)
    plain = supernet.extract(architecture)
    with supernet.active(architecture):
        assert torch.equal(supernet(x), expected)
    assert not [m for m in plain.modules() if isinstance(m, Skippable)]
    if depth == 2:
        assert torch.equal(plain(x), expected)


def test_attributes_are_those_of_the_block() -> None:
    block = Skippable(Scaling(), 0, 1, alone=True)
    assert block.factor == 2.0
    assert block.layer is block.block.layer  # type: ignore[union-attr]
    assert copy.deepcopy(block).factor == 2.0
    with pytest.raises(AttributeError, match="nowhere"):
        _ = block.nowhere
