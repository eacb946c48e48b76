"""Follows channels through operations that only move numbers."""

from __future__ import annotations

import numpy as np
import torch

from nas.space import IntArray
from nas.supernet.convert.calls import Call, Rule, by_name, refuse, renumber
from nas.supernet.convert.labels import ChannelBlock, Layout, simplest, spread

_MOST_NUMBERS = 2**22
"""Most numbers of a tensor of which each is looked up, which takes some bytes of memory for each."""


def _view(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    return [call.ties.view(call.layout(tensor), tensor.shape, output.shape) for output in call.outputs]


def _stride(call: Call) -> list[Layout]:
    """Follow any other view, by the place of every number in memory."""
    tensor, (output,) = call.arguments["self"], call.outputs
    if max(tensor.numel(), output.numel()) > _MOST_NUMBERS:
        return refuse(call)
    before, after = (
        sum(
            np.arange(size).reshape([-1 if axis == dim else 1 for axis in range(one.ndim)]) * stride
            for dim, (size, stride) in enumerate(zip(one.shape, one.stride(), strict=True))
        )
        + one.storage_offset()
        for one in (tensor, output)
    )
    order = np.argsort(before, axis=None)
    found = order[np.searchsorted(before.ravel(), after.ravel(), sorter=order) % order.size]
    if not (before.ravel()[found] == after.ravel()).all():
        return refuse(call)
    made = []
    for block in call.layout(tensor):
        nodes = spread(block, tuple(range(tensor.ndim)), tuple(tensor.shape)).ravel()[found]
        made.append(simplest(range(output.ndim), nodes.reshape(output.shape)))
    return [tuple(block for block in made if block.dims)]


def _permute(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    order = list(range(tensor.ndim))
    if call.name == "permute":
        order = [dim % tensor.ndim for dim in call.arguments["dims"]]
    elif tensor.ndim > 1:
        one, other = (call.arguments.get(name, dim) for name, dim in (("dim0", 0), ("dim1", 1)))
        order[one], order[other] = order[other], order[one]
    return [call.ties.permute(call.layout(tensor), order)]


def _expand(call: Call) -> list[Layout]:
    (output,) = call.outputs
    return [call.ties.combine([call.align(call.tensors()[0], output.ndim)])]


def _repeat(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    repeats = call.arguments["repeats"]
    added = len(repeats) - tensor.ndim
    made = []
    for block in call.layout(tensor):
        dims = tuple(dim + added for dim in block.dims)
        made.append(ChannelBlock(dims, np.tile(block.nodes, [repeats[dim] for dim in dims])))
    return [tuple(made)]


def _slice(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    dim = call.arguments["dim"] % tensor.ndim
    start, end, step = (call.arguments[name] for name in ("start", "end", "step"))
    return [call.ties.take(call.layout(tensor), dim, slice(start, end, step))]


def _pieces(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    dim = call.arguments["dim"] % tensor.ndim
    made, start = [], 0
    for output in call.outputs:
        stop = start + output.shape[dim]
        made.append(call.ties.take(call.layout(tensor), dim, slice(start, stop)))
        start = stop
    return made


def _select(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    dim = call.arguments["dim"] % tensor.ndim
    places = [call.arguments["index"]] if "index" in call.arguments else range(len(call.outputs))
    names = renumber([other for other in range(tensor.ndim) if other != dim])
    made: list[list[ChannelBlock]] = [[] for _ in call.outputs]
    for block in call.layout(tensor):
        if block.dims == (dim,):
            call.ties.fix(block.nodes, "one of them is used by itself")
            continue
        for place, kept in zip(places, made, strict=True):
            if dim in block.dims:
                axis = block.dims.index(dim)
                left = tuple(other for other in block.dims if other != dim)
                kept.append(ChannelBlock(left, block.nodes.take(place, axis)).move(names))
            else:
                kept.append(block.move(names))
    return [tuple(kept) for kept in made]


def _index_selected(call: Call) -> list[Layout]:
    tensor, index = call.arguments["self"], call.arguments["index"]
    dim = call.arguments["dim"] % tensor.ndim
    return [call.ties.take(call.layout(tensor), dim, index.cpu().reshape(-1).numpy())]


def _index(call: Call) -> list[Layout]:
    tensor, indices = call.arguments["self"], list(call.arguments["indices"])
    (output,) = call.outputs
    indices += [None] * (tensor.ndim - len(indices))
    if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return refuse(call)
    by = [dim for dim, index in enumerate(indices) if index is not None]
    adjacent = by == list(range(by[0], by[-1] + 1))
    layout = call.layout(tensor)
    touched = [block for block in layout if not set(by).isdisjoint(block.dims)]
    if touched or not adjacent:
        if layout and len(by) == 1 and indices[by[0]].ndim == 1:
            return [call.ties.take(layout, by[0], indices[by[0]].cpu().numpy())]
        return refuse(call)
    added = output.ndim - tensor.ndim
    names = {dim: dim if dim < by[0] else dim + added for dim in range(tensor.ndim)}
    return [tuple(block.move(names) for block in layout)]


def _concatenate(call: Call) -> list[Layout]:
    tensors = [tensor for tensor in call.arguments["tensors"] if tensor.shape != (0,)]
    dim = call.arguments["dim"] % tensors[0].ndim
    return [call.ties.concatenate([call.operand(tensor) for tensor in tensors], dim)]


def _stack(call: Call) -> list[Layout]:
    tensors = call.arguments["tensors"]
    (output,) = call.outputs
    dim = call.arguments["dim"] % output.ndim
    names = [other for other in range(output.ndim) if other != dim]
    return [call.ties.combine([call.operand(tensor, names) for tensor in tensors])]


def _shuffle_pixels(call: Call) -> list[Layout]:
    """Follow channels or columns that become pixels; the channels of one pixel are tied."""
    dim, nodes = _channels_of(call, "pixel_shuffle")
    if nodes is None:
        return [()]
    count = call.outputs[0].shape[dim]
    return [(ChannelBlock((dim,), call.ties.tie_along(nodes.reshape(count, -1), [1])),)]


def _unshuffle_pixels(call: Call) -> list[Layout]:
    """Follow pixels that become channels, or columns."""
    dim, nodes = _channels_of(call, "pixel_unshuffle")
    if nodes is None:
        return [()]
    return [(ChannelBlock((dim,), np.repeat(nodes, call.outputs[0].shape[dim] // len(nodes))),)]


def _channels_of(call: Call, pixels: str) -> tuple[int, IntArray | None]:
    """Return the dimension of an operation's channels, third from the end where it moves pixels, and their nodes."""
    tensor = call.tensors()[0]
    dim = tensor.ndim - 3 if call.name == pixels else 1
    return dim, call.ties.along(call.layout(tensor), dim)


def _shuffle_channels(call: Call) -> list[Layout]:
    """Follow torch's channel shuffle."""
    tensor = call.tensors()[0]
    nodes = call.ties.along(call.layout(tensor), 1)
    if nodes is None:
        return [()]
    groups = call.arguments["groups"]
    left = call.ties.tie_along(nodes.reshape(groups, -1), [0])
    return [(ChannelBlock((1,), np.repeat(left, groups)),)]


def _unfold(call: Call) -> list[Layout]:
    tensor, dim = call.arguments["self"], call.arguments["dimension"] % call.arguments["self"].ndim
    call.ties.fix_all((b for b in call.layout(tensor) if dim in b.dims), "windows slide along them")
    return [tuple(block for block in call.layout(tensor) if dim not in block.dims)]


def _pack(call: Call) -> list[Layout]:
    """Follow sequences of several lengths into one row, and back."""
    tensor = call.tensors()[0]
    shift = -1 if call.name == "_pack_padded_sequence" else 1
    kept = [block for block in call.layout(tensor) if block.dims == (tensor.ndim - 1,)]
    moved = tuple(block.move({tensor.ndim - 1: tensor.ndim - 1 + shift}) for block in kept)
    return [moved, *(() for _ in call.outputs[1:])]


RULES: dict[str, Rule] = by_name(
    (_view, "view _unsafe_view _reshape_alias _reshape_copy reshape squeeze unsqueeze view_copy flatten"),
    (_permute, "permute transpose t numpy_T"),
    (_expand, "expand"),
    (_repeat, "repeat"),
    (_slice, "slice"),
    (_pieces, "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unsafe_chunk"),
    (_select, "select unbind"),
    (_index_selected, "index_select"),
    (_index, "index"),
    (_concatenate, "cat"),
    (_stack, "stack"),
    (_shuffle_pixels, "pixel_shuffle col2im"),
    (_unshuffle_pixels, "pixel_unshuffle im2col"),
    (_shuffle_channels, "channel_shuffle native_channel_shuffle"),
    (_unfold, "unfold"),
    (_pack, "_pack_padded_sequence _pad_packed_sequence"),
    (_stride, "as_strided"),
)
