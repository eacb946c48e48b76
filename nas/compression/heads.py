"""Attention as far as pruning must know it: layers of its own, and attributes that say how many heads there are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import nn

from nas.supernet.attention import Attention
from nas.supernet.cut_attention import CutAttention, why_whole_attention

_HEADS = ("num_heads", "heads", "n_heads", "nhead", "n_head", "num_attention_heads")
_ALL_HEADS = ("attn_dim", "all_head_size", "inner_dim")
"""What attention of torch, timm, transformers and ours calls its number of heads, and their channels together."""


@final
@dataclass(frozen=True)
class Holder:
    """An attribute that grows with the number of heads.

    Args:
        module: That has it.
        attribute: Its name.
        per_head: Its value for one head.
    """

    module: nn.Module
    attribute: str
    per_head: int

    @property
    def num_heads(self) -> int:
        """How many heads it says there are."""
        return int(getattr(self.module, self.attribute)) // self.per_head


def open_attention(network: nn.Module) -> None:
    """Replace torch's multi-head attention in place by the same with layers of its own."""
    made: dict[nn.Module | None, nn.Module] = {}
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child in made:
                module._modules[name] = made[child]
            elif isinstance(child, nn.MultiheadAttention) and why_whole_attention(child) is None:
                made[child] = CutAttention.of(child, child.num_heads).extract().requires_grad_(True)
                module._modules[name] = made[child]


def update_sizes(network: nn.Module) -> None:
    """Let attributes of attention say the widths that its layers have."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.embed_dim = module.out.out_features
            module.kdim, module.vdim = module.key.in_features, module.value.in_features


def head_holders(network: nn.Module, layers: Sequence[str], size: int) -> tuple[Holder, ...]:
    """Return the attributes by which attention knows its heads; none where they don't agree.

    Args:
        network: With the attention.
        layers: Names of its layers; attributes are looked for in the smallest module with all of them.
        size: Channels of all heads.
    """
    paths = zip(*(layer.split(".")[:-1] for layer in layers), strict=False)
    shared = itertools.takewhile(lambda level: len(set(level)) == 1, paths)
    around = list(network.get_submodule(".".join(level[0] for level in shared)).modules())
    counts = [Holder(m, name, 1) for m in around for name in _HEADS if type(vars(m).get(name)) is int]
    numbers = {holder.num_heads for holder in counts}
    heads = numbers.pop() if len(numbers) == 1 else 0
    if heads < 1 or size % heads:
        return ()
    wholes = [Holder(m, n, size // heads) for m in around for n in _ALL_HEADS if vars(m).get(n) == size]
    return (*counts, *wholes)
