"""Follows channels through layers: products of matrices, convolutions, norms."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from nas.supernet.convert.calls import Call, Rule, by_name
from nas.supernet.convert.labels import FOREIGN, ChannelBlock, Layout, Operand
from nas.supernet.cut import loses_groups


def _product(call: Call, one: Tensor, other: Tensor, added: Tensor | None = None) -> list[Layout]:
    """Follow matrix products of ``(..., n, k)`` and ``(..., k, m)``; the sum over k is one over its channels."""
    (output,) = call.outputs
    batch = one.ndim - 2
    n, m, k = batch, batch + 1, batch + 2
    left = call.operand(one, [*range(batch), n, k])
    right = call.operand(other, [*range(batch), k, m])
    layout = call.ties.reduce(call.ties.combine([left, right]), [k])
    if added is not None:
        made = Operand(layout, dict(enumerate(output.shape)))
        layout = call.ties.combine([made, call.align(added, output.ndim)])
    return [layout]


def _matrices(call: Call) -> list[Layout]:
    one, other = call.tensors()[-2:]
    added = None if call.name in ("mm", "bmm") else call.arguments["self"]
    return _product(call, one, other, added)


def _vector_product(call: Call) -> list[Layout]:
    matrix, vector = call.tensors()[-2:]
    combined = call.ties.combine([call.operand(matrix), call.operand(vector, [1])])
    return [call.ties.reduce(combined, [1])]


def _linear(call: Call) -> list[Layout]:
    tensor, weight, bias = (call.arguments[name] for name in ("input", "weight", "bias"))
    (output,) = call.outputs
    last = output.ndim - 1
    left = call.operand(tensor, [*range(last), last + 1])
    layout = call.ties.reduce(call.ties.combine([left, call.operand(weight, [last, last + 1])]), [last + 1])
    if bias is not None:
        layout = call.ties.combine(
            [Operand(layout, dict(enumerate(output.shape))), call.operand(bias, [last])]
        )
    return [layout]


def _embed(call: Call) -> list[Layout]:
    weight, indices = call.arguments["weight"], call.arguments["indices"]
    call.ties.fix_all(call.layout(indices), FOREIGN)
    for block in call.layout(weight):
        if 0 in block.dims:
            call.ties.fix(block.nodes, "they are numbers that the input holds")
    (output,) = call.outputs
    left = tuple(block for block in call.layout(weight) if block.dims == (1,))
    return [tuple(block.move({1: output.ndim - 1}) for block in left)]


def _convolve(call: Call) -> list[Layout]:
    tensor, weight, bias = (call.arguments[name] for name in ("input", "weight", "bias"))
    groups, transposed = call.arguments["groups"], call.arguments["transposed"]
    for held, channels in ((tensor, {1}), (weight, set[int]())):
        # Pixels that were channels, as in a decoder, go with the channel that they are pixels of.
        sliding = [b for b in call.layout(held) if max(b.dims) > 1 and channels.isdisjoint(b.dims)]
        call.ties.fix_all(sliding, "a convolution slides along them")
    if loses_groups(groups):
        made = _tie_within_groups(call, tensor, weight, groups, transposed)
    elif groups > 1:
        made = _tie_groups(call, tensor, weight, groups, transposed)
    else:
        taken, given = (0, 1) if transposed else (1, 0)
        call.ties.combine([_row(call, tensor, 1), _row(call, weight, taken)])
        made = _row(call, weight, given)
    parts = [made] + ([] if bias is None else [_row(call, bias, 0)])
    return [tuple(block.move({0: 1}) for block in call.ties.combine(parts))]


def _row(call: Call, tensor: Tensor, dim: int, units: int | None = None) -> Operand:
    """Return one dimension of a tensor as an operand; with ``units``, whole units of its channels."""
    nodes = call.ties.along(call.layout(tensor), dim)
    size = units or tensor.shape[dim]
    if nodes is not None and units is not None:
        nodes = call.ties.tie_along(nodes.reshape(units, -1), [1])
    layout = () if nodes is None else (ChannelBlock((0,), nodes),)
    return Operand(layout, {0: size}, call.layouts(tensor) is None)


def _tie_within_groups(call: Call, tensor: Tensor, weight: Tensor, groups: int, transposed: bool) -> Operand:
    """Tie the channels within each group of a convolution, input and output; return the output's."""
    inner = call.ties.along(call.layout(weight), 1)
    if inner is not None:  # of a weight that no convolution holds
        call.ties.fix(inner, "they are the channels of one group")
    units = call.ties.combine([_row(call, tensor, 1, groups), _row(call, weight, 0, groups)])
    if not transposed:
        return _row(call, weight, 0)
    repeat = weight.shape[1]
    layout = tuple(ChannelBlock((0,), np.repeat(block.nodes, repeat)) for block in units)
    return Operand(layout, {0: groups * repeat})


def _tie_groups(call: Call, tensor: Tensor, weight: Tensor, groups: int, transposed: bool) -> Operand:
    """Tie channels of equal position in all groups of a convolution, input and output; return the output's."""
    inner = _row(call, weight, 1)
    taken, outer = (_over_groups(call, held, dim, groups) for held, dim in ((tensor, 1), (weight, 0)))
    call.ties.combine([taken, outer if transposed else inner])
    made = inner if transposed else outer
    layout = tuple(ChannelBlock((0,), np.tile(block.nodes, groups)) for block in made.layout)
    return Operand(layout, {0: groups * made.sizes[0]})


def _over_groups(call: Call, tensor: Tensor, dim: int, groups: int) -> Operand:
    """Return the channels of one group, tied to those of the others."""
    nodes = call.ties.along(call.layout(tensor), dim)
    layout = (
        () if nodes is None else (ChannelBlock((0,), call.ties.tie_along(nodes.reshape(groups, -1), [0])),)
    )
    return Operand(layout, {0: tensor.shape[dim] // groups}, call.layouts(tensor) is None)


def _normalize(call: Call) -> list[Layout]:
    """Follow norms over the last dimensions, or elementwise operations of whose outputs the first alone matters."""
    output = call.outputs[0]
    layout = call.ties.combine([call.align(tensor, output.ndim) for tensor in call.tensors()])
    return [layout, *(() for _ in call.outputs[1:])]


def _normalize_channels(call: Call) -> list[Layout]:
    tensors = call.tensors()
    operands = [call.operand(tensors[0]), *(call.operand(held, [1]) for held in tensors[1:])]
    layout = call.ties.combine(operands)
    groups = call.arguments.get("group", 1)
    if groups > 1:
        nodes = call.ties.along(layout, 1)
        if nodes is not None:
            call.ties.tie_along(nodes.reshape(groups, -1), [1])
    return [layout, *(() for _ in call.outputs[1:])]


RULES: dict[str, Rule] = by_name(
    (_matrices, "mm bmm addmm baddbmm _addmm_activation"),
    (_vector_product, "mv addmv"),
    (_linear, "linear"),
    (_embed, "embedding _embedding_bag"),
    (_convolve, "convolution _convolution convolution_overrideable"),
    (_normalize, "native_layer_norm layer_norm rms_norm _fused_rms_norm _weight_norm_interface"),
    (_normalize_channels, "native_batch_norm _native_batch_norm_legit"),
    (_normalize_channels, "_native_batch_norm_legit_no_training"),
    (_normalize_channels, "cudnn_batch_norm miopen_batch_norm _batch_norm_with_update native_group_norm"),
    (_normalize_channels, "_batch_norm_no_update _native_batch_norm_legit_functional"),
)
