"""Channels and heads ordered by importance, so that the first ones are the best."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.supernet.convert.dependencies import ChannelGroup, Segment
from nas.supernet.cut_attention import projections


@torch.no_grad()
def channel_importance(model: nn.Module, group: ChannelGroup) -> Tensor:
    """Return the L1 norm of every channel's weights (Li 2017), over all layers of its group (Fang 2023).

    Each layer counts equally, whatever the scale of its weights.

    Returns:
        ``(size,)``.
    """
    device = next(model.parameters()).device
    importance = torch.zeros(group.size, dtype=torch.float64, device=device)
    for segment in group.segments:
        tensor = model.get_submodule(segment.path)._parameters.get(segment.tensor)
        if tensor is not None and "bias" not in segment.tensor:
            norms = (
                tensor.double().abs().movedim(segment.dim, 0).reshape(tensor.shape[segment.dim], -1).sum(1)
            )
            own = norms[segment.start :][: group.size * segment.repeat].view(group.size, -1).sum(1)
            importance += own / own.mean().clamp_min(1e-30)
    return importance


@torch.no_grad()
def order_channels(model: nn.Module, group: ChannelGroup, order: Tensor) -> None:
    """Move the group's channels in place, everywhere they occur: ``order[i]`` becomes channel i."""
    moved: set[tuple[int, int, int]] = set()
    for segment in group.segments:
        module = model.get_submodule(segment.path)
        tensor = {**module._parameters, **module._buffers}.get(segment.tensor)
        if tensor is None:
            continue
        place = (id(tensor), segment.dim, segment.start)
        if place not in moved:  # a tensor that several modules hold moves once
            moved.add(place)
            positions = _positions(segment, order, tensor.shape[segment.dim]).to(tensor.device)
            tensor.copy_(tensor.index_select(segment.dim, positions))


def _positions(segment: Segment, order: Tensor, length: int) -> Tensor:
    """Return where each position of an axis is taken from."""
    positions = torch.arange(length, device=order.device)
    inner = torch.arange(segment.repeat, device=order.device)
    taken = (order[:, None] * segment.repeat + inner).flatten() + segment.start
    positions[segment.start : segment.start + len(taken)] = taken
    return positions


@torch.no_grad()
def head_importance(attention: nn.MultiheadAttention) -> Tensor:
    """Return the L1 norm of every head's weights, ``(num_heads,)``."""
    heads = attention.num_heads
    weights = projections(attention)
    taken = torch.stack([w.double().abs().view(heads, -1).sum(1) for w in weights]).sum(0)
    given = attention.out_proj.weight.double().abs().view(attention.embed_dim, heads, -1).sum((0, 2))
    return taken / taken.mean().clamp_min(1e-30) + given / given.mean().clamp_min(1e-30)


@torch.no_grad()
def order_heads(attention: nn.MultiheadAttention, order: Tensor) -> None:
    """Move the heads in place: ``order[i]`` becomes head i."""
    heads, size = attention.num_heads, attention.head_dim
    order = order.to(attention.out_proj.weight.device)
    rows = (order[:, None] * size + torch.arange(size, device=order.device)).flatten()
    biases = () if attention.in_proj_bias is None else attention.in_proj_bias.split(heads * size)
    for part in (*projections(attention), *biases):
        part.copy_(part[rows])
    attention.out_proj.weight.copy_(attention.out_proj.weight[:, rows])
