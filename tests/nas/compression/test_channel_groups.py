from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pass_fakes import random_ids, random_split, residual_net
from torch import Tensor, nn

from nas.compression.channel_groups import channel_groups
from nas.compression.heads import update_sizes
from nas.inputs import call_network
from nas.supernet import Supernet
from nas.supernet.attention import Attention
from search_spaces.convnet import convnet
from search_spaces.text_transformer import text_transformer
from search_spaces.unet import unet


class Fused(nn.Module):
    """Attention as timm writes it: one layer for queries, keys and values."""

    def __init__(self, width: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, width // heads, width
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        n, length, _ = tokens.shape
        qkv = self.qkv(tokens).reshape(n, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query @ key.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(n, length, self.attn_dim))


class Encoder(nn.Module):
    """Tokens of four numbers, attention, and the mean."""

    def __init__(self, attention: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.embed, self.attention, self.head = nn.Linear(4, width), attention, nn.Linear(width, 3)
        self.positions = nn.Parameter(torch.randn(1, 6, width))

    def forward(self, rows: Tensor) -> Tensor:
        tokens = self.embed(rows) + self.positions
        return self.head((tokens + self.attention(tokens)).mean(1))


class Itself(nn.Module):
    """Torch's attention of tokens to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 4, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.inner(tokens, tokens, tokens, need_weights=False)[0]


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 1),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.Conv2d(8, 12, 3, groups=2, padding=1),
        nn.InstanceNorm2d(12, affine=True),
        nn.ConvTranspose2d(12, 8, 2, stride=2),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


def smallest_but_deep(network: nn.Module) -> nn.Module:
    supernet = Supernet(network)
    space = supernet.space
    depths = {c.name: c.options[c.largest_index] for c in space.choices if c.name.endswith("depth")}
    return supernet.extract(space.architecture({**space.smallest(), **depths}))


def text() -> nn.Module:
    supernet = Supernet(text_transformer(3, 50, 6))
    return supernet.extract(supernet.space.architecture({**supernet.space.largest(), "depth": 2}))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "residual": (residual_net, random_split(1, 8, 8).inputs),
    "inverted": (lambda: smallest_but_deep(convnet(3, 1, 8)), random_split(1, 8, 8).inputs),
    "unet": (lambda: smallest_but_deep(unet(3, 1)), random_split(1, 16, 16).inputs),
    "grouped": (grouped, random_split(1, 8, 8).inputs),
    "text": (text, random_ids(6, 50).inputs),
    "fused attention": (lambda: Encoder(Fused()), random_split(6, 4).inputs),
    "torch's attention": (lambda: Encoder(Itself()), random_split(6, 4).inputs),
    "encoder of torch": (
        lambda: Encoder(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)),
        random_split(6, 4).inputs,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_without_weight_can_go_and_nothing_changes(name: str) -> None:
    make, inputs = NETWORKS[name]
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # no two channels are alike
        given = call_network(network, inputs[:4])
    groups = channel_groups(network, inputs[:2])
    alive = {group.name: torch.arange(0, len(group.units), 2) for group in groups}
    # A dead channel counts in the mean of a layer norm, so that leaving it out changes the others.
    able = [g for g in groups if not any(is_in_layer_norm(network, p.tensor) for p in g.slices)]
    assert able
    with torch.no_grad():
        assert torch.allclose(call_network(network, inputs[:4]), given, atol=1e-5)
        for group in able:
            dead = group.units[1::2].flatten()
            for slice_ in group.slices:
                slice_.tensor.index_fill_(slice_.dim, slice_.positions[torch.isin(slice_.roots, dead)], 0.0)
        before, count = call_network(network, inputs[:4]), sum(p.numel() for p in network.parameters())
        assert not torch.allclose(before, given, atol=1e-3)
        for group in able:
            group.keep(alive[group.name])
        update_sizes(network)
        after = call_network(network, inputs[:4])
    assert sum(p.numel() for p in network.parameters()) < 0.8 * count
    assert torch.allclose(after, before, atol=1e-4)


def is_in_layer_norm(network: nn.Module, tensor: Tensor) -> bool:
    return any(tensor is p for m in network.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters())


@pytest.mark.parametrize("attention", [Fused, Itself])
def test_attention_loses_whole_heads(attention: Callable[[], nn.Module]) -> None:
    network = Encoder(attention()).eval()
    groups = {group.name: group for group in channel_groups(network, torch.zeros(2, 6, 4))}
    name = "attention.proj.heads" if attention is Fused else "attention.inner.out.heads"
    assert groups[name].units.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    groups[name].keep(torch.tensor([1]))
    inner = network.attention if attention is Fused else network.attention.inner
    assert inner.num_heads == 1
    assert isinstance(inner, Fused | Attention)
    assert network(torch.zeros(2, 6, 4)).shape == (2, 3)


def test_what_is_the_output_or_has_odd_groups_stays() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 6, 1), nn.GroupNorm(3, 6), nn.Conv2d(6, 4, 1, groups=2), nn.Conv2d(4, 5, 1)
    )
    groups = {group.name: group.units.tolist() for group in channel_groups(network, torch.zeros(2, 1, 4, 4))}
    assert groups == {"2": [[0, 2], [1, 3]]}
