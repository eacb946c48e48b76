from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas import choice
from nas.errors import SpaceError
from nas.supernet import Supernet
from nas.supernet.token_layers import Embedding, HeadMixing, LayerNorm, Positions

WIDTH = choice("width", 4, 6, 8)


@pytest.mark.parametrize("width", [4, 6, 8])
def test_a_layer_is_its_torch_sibling_with_the_first_features(width: int) -> None:
    torch.manual_seed(0)
    supernet = Supernet(nn.Sequential(Embedding(9, WIDTH), Positions(5, WIDTH), LayerNorm(WIDTH)))
    nn.init.normal_(supernet.module[2].weight)
    embedding, positions, norm = supernet.module
    ids = torch.randint(0, 9, (3, 5))
    expected = F.embedding(ids, embedding.weight[:, :width]) + positions.weight[:, :width]
    expected = F.layer_norm(expected, (width,), norm.weight[:width], norm.bias[:width])
    architecture = supernet.space.architecture({"width": width})
    with supernet.active(architecture):
        assert torch.equal(supernet(ids), expected)
    plain = supernet.extract(architecture)
    assert torch.equal(plain(ids), expected)
    assert type(plain[0]) is nn.Embedding
    assert type(plain[2]) is nn.LayerNorm
    assert sum(p.numel() for p in plain.parameters()) == (9 + 5 + 2) * width


def test_gradients_reach_the_active_part_alone() -> None:
    supernet = Supernet(nn.Sequential(Embedding(9, WIDTH), LayerNorm(WIDTH)))
    with supernet.active(supernet.space.smallest()):
        supernet(torch.tensor([[1, 2]])).square().sum().backward()
    gradient = supernet.module[0].weight.grad
    assert gradient[:, 4:].abs().max() == 0
    assert supernet.module[1].bias.grad[4:].abs().max() == 0


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_heads_are_those_of_torch_with_as_many_keys_as_there_are(heads: int) -> None:
    torch.manual_seed(0)
    mixing = HeadMixing(choice("heads", 1, 2, 3), 4)
    supernet = Supernet(nn.ModuleDict({"mixing": mixing}))
    queries, keys, values = (torch.randn(2, length, 4 * heads) for length in (3, 5, 5))
    mask = torch.zeros(2, 1, 1, 5)
    mask[:, :, :, 3:] = -1e4
    parted = [x.unflatten(2, (heads, 4)).transpose(1, 2) for x in (queries, keys, values)]
    weights = (parted[0] @ parted[1].transpose(2, 3) / 2 + mask).softmax(-1)
    expected = (weights @ parted[2]).transpose(1, 2).flatten(2)
    with supernet.active(supernet.space.architecture({"heads": heads})):
        got = mixing(queries, keys, values, mask)
        plain = mixing.extract()
        assert mixing.macs_per_position() == 2 * 5 * heads * 4
    assert torch.allclose(got, expected, atol=1e-6)
    assert torch.equal(plain(queries, keys, values, mask), got)


def test_a_width_that_is_no_size_is_a_sentence() -> None:
    with pytest.raises(SpaceError):
        LayerNorm(choice("width", 0, 4))
