"""Channels of a network with choices in it, ordered so that its narrow forms keep the best ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nas.supernet.convert.branches import branches_of
from nas.supernet.convert.checks import runnable_copy
from nas.supernet.convert.dependencies import channel_groups
from nas.supernet.convert.example import examples_of
from nas.supernet.convert.importance import channel_importance, order_channels
from nas.supernet.supernet import Supernet


@torch.no_grad()
def order_by_importance(supernet: Supernet, example_input: Tensor | tuple[Any, ...]) -> None:
    """Move channels in place, by descending L1 norm of their weights (Cai 2020), everywhere that they occur.

    The whole network computes what it did before, up to the order of its sums; a narrow one, which uses the first
    channels, keeps the largest ones. For weights that were trained at full width, before they are searched as they are.
    Converted modules are ordered already.

    Args:
        supernet: Supernet of elastic layers.
        example_input: What its ``forward`` takes.
    """
    whole, _ = runnable_copy(supernet.extract(supernet.space.largest()), examples_of(example_input))
    groups, _, _ = channel_groups(whole, branches_of(whole, examples_of(example_input)), keep=())
    for group in groups:
        order = channel_importance(whole, group).argsort(descending=True, stable=True)
        order_channels(whole, group, order)
    shared = [*supernet.parameters(), *supernet.buffers()]
    for own, moved in zip(shared, [*whole.parameters(), *whole.buffers()], strict=True):
        own.copy_(moved)
