"""What every operation of torch does to the channels of its tensors.

An operation that isn't listed is taken to work position by position where the shapes allow it; otherwise all
channels that it takes must stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nas.supernet.convert.labels import FOREIGN, Block, Layout, Operand, Ties, simplest, spread
from nas.supernet.cut import loses_groups

Arguments = Mapping[str, Any]
_MOST_NUMBERS = 2**22
"""Of a tensor whose numbers are looked up one by one."""


@final
@dataclass(frozen=True)
class Call:
    """One operation that ran.

    Args:
        name: Without its overload and a trailing underscore.
        arguments: By name, with defaults.
        outputs: The tensors that it returned.
        layouts: Returns a tensor's layout, or None of a constant.
        ties: Takes what the operation ties.
    """

    name: str
    arguments: Arguments
    outputs: Sequence[Tensor]
    layouts: Callable[[Tensor], Layout | None]
    ties: Ties

    def layout(self, tensor: Tensor) -> Layout:
        """Return a tensor's layout, empty for a constant."""
        return self.layouts(tensor) or ()

    def operand(self, tensor: Tensor, to: Sequence[int] | None = None) -> Operand:
        """Return a tensor with its dimension ``i`` called ``to[i]``."""
        names = range(tensor.ndim) if to is None else to
        layout = self.layouts(tensor)
        blocks = tuple(block.moved(dict(enumerate(names))) for block in layout or ())
        return Operand(blocks, dict(zip(names, tensor.shape, strict=True)), layout is None)

    def aligned(self, tensor: Tensor, ndim: int) -> Operand:
        """Return a tensor as it is broadcast to ``ndim`` dimensions."""
        return self.operand(tensor, range(ndim - tensor.ndim, ndim))

    def tensors(self) -> list[Tensor]:
        """Return all tensors among the arguments."""
        return [x for x in tree_leaves(list(self.arguments.values())) if isinstance(x, Tensor)]


Rule = Callable[[Call], list[Layout]]


def layouts_after(call: Call) -> list[Layout]:
    """Return the layout of every output of a call, and tie what it ties."""
    rule = _RULES.get(call.name)
    return _unknown(call) if rule is None else rule(call)


def _unknown(call: Call) -> list[Layout]:
    given = call.tensors()
    try:
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in given))
    except RuntimeError:
        shape = None
    if shape is not None and all(output.shape == shape for output in call.outputs):
        return _elementwise(call)
    one = [tensor for tensor in given if call.layout(tensor)]
    if len(one) == 1 and all(output.ndim == one[0].ndim for output in call.outputs):
        return [_spatial(call, one[0], output) for output in call.outputs]
    return _refused(call)


def _refused(call: Call) -> list[Layout]:
    for tensor in call.tensors():
        call.ties.fix_all(call.layout(tensor), f"they go through {call.name}, which isn't followed")
    return [() for _ in call.outputs]


def _elementwise(call: Call) -> list[Layout]:
    made = []
    for output in call.outputs:
        operands = [call.aligned(tensor, output.ndim) for tensor in call.tensors()]
        made.append(call.ties.combine(operands))
    return made


def _spatial(call: Call, tensor: Tensor, output: Tensor) -> Layout:
    """Return the layout after an operation that may change the size of dimensions which aren't channels."""
    kept = []
    for block in call.layout(tensor):
        if all(tensor.shape[dim] == output.shape[dim] for dim in block.dims):
            kept.append(block)
        else:
            call.ties.fix(block.nodes, f"they go through {call.name}, which changes their number")
    return tuple(kept)


def _ordered(call: Call) -> list[Layout]:
    """Operations that depend on the order along some dimension."""
    tensor = call.tensors()[0]
    dims = _dims(call, tensor.ndim)
    for block in call.layout(tensor):
        if not dims.isdisjoint(block.dims):
            call.ties.fix(block.nodes, f"their order matters to {call.name}")
    kept = tuple(block for block in call.layout(tensor) if dims.isdisjoint(block.dims))
    return [kept if output.ndim == tensor.ndim else () for output in call.outputs]


def _dims(call: Call, ndim: int) -> set[int]:
    given = call.arguments.get("dim", call.arguments.get("dims"))
    if given is None or given == []:
        return set(range(ndim))
    return {dim % ndim for dim in (given if isinstance(given, list | tuple) else [given])} if ndim else set()


def _reduction(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    if len(call.tensors()) > 1:
        return _elementwise(call)
    dims = _dims(call, tensor.ndim)
    if call.name.startswith("arg"):
        _ordered(call)
    left = call.ties.reduced(call.layout(tensor), dims)
    kept = [dim for dim in range(tensor.ndim) if dim not in dims]
    names = {dim: dim for dim in kept} if call.outputs[0].ndim == tensor.ndim else _renumbered(kept)
    return [tuple(block.moved(names) for block in left) for _ in call.outputs]


def _renumbered(kept: Sequence[int]) -> dict[int, int]:
    return {dim: number for number, dim in enumerate(kept)}


def _viewed(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    return [call.ties.viewed(call.layout(tensor), tensor.shape, output.shape) for output in call.outputs]


def _strided(call: Call) -> list[Layout]:
    """Any other view: every number is looked up where it lies in memory."""
    tensor, (output,) = call.arguments["self"], call.outputs
    if max(tensor.numel(), output.numel()) > _MOST_NUMBERS:
        return _refused(call)
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
        return _refused(call)
    made = []
    for block in call.layout(tensor):
        nodes = spread(block, tuple(range(tensor.ndim)), tuple(tensor.shape)).ravel()[found]
        made.append(simplest(range(output.ndim), nodes.reshape(output.shape)))
    return [tuple(block for block in made if block.dims)]


def _permuted(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    order = list(range(tensor.ndim))
    if call.name == "permute":
        order = [dim % tensor.ndim for dim in call.arguments["dims"]]
    elif tensor.ndim > 1:
        one, other = (call.arguments.get(name, dim) for name, dim in (("dim0", 0), ("dim1", 1)))
        order[one], order[other] = order[other], order[one]
    return [call.ties.permuted(call.layout(tensor), order)]


def _expanded(call: Call) -> list[Layout]:
    (output,) = call.outputs
    return [call.ties.combine([call.aligned(call.tensors()[0], output.ndim)])]


def _repeated(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    repeats = call.arguments["repeats"]
    added = len(repeats) - tensor.ndim
    made = []
    for block in call.layout(tensor):
        dims = tuple(dim + added for dim in block.dims)
        made.append(Block(dims, np.tile(block.nodes, [repeats[dim] for dim in dims])))
    return [tuple(made)]


def _sliced(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    dim = call.arguments["dim"] % tensor.ndim
    start, end, step = (call.arguments[name] for name in ("start", "end", "step"))
    return [call.ties.taken(call.layout(tensor), dim, slice(start, end, step))]


def _pieces(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    dim = call.arguments["dim"] % tensor.ndim
    made, start = [], 0
    for output in call.outputs:
        stop = start + output.shape[dim]
        made.append(call.ties.taken(call.layout(tensor), dim, slice(start, stop)))
        start = stop
    return made


def _selected(call: Call) -> list[Layout]:
    tensor = call.tensors()[0]
    dim = call.arguments["dim"] % tensor.ndim
    places = [call.arguments["index"]] if "index" in call.arguments else range(len(call.outputs))
    names = _renumbered([other for other in range(tensor.ndim) if other != dim])
    made: list[list[Block]] = [[] for _ in call.outputs]
    for block in call.layout(tensor):
        if block.dims == (dim,):
            call.ties.fix(block.nodes, "one of them is used by itself")
            continue
        for place, kept in zip(places, made, strict=True):
            if dim in block.dims:
                axis = block.dims.index(dim)
                left = tuple(other for other in block.dims if other != dim)
                kept.append(Block(left, block.nodes.take(place, axis)).moved(names))
            else:
                kept.append(block.moved(names))
    return [tuple(kept) for kept in made]


def _index_selected(call: Call) -> list[Layout]:
    tensor, index = call.arguments["self"], call.arguments["index"]
    dim = call.arguments["dim"] % tensor.ndim
    return [call.ties.taken(call.layout(tensor), dim, index.cpu().reshape(-1).numpy())]


def _indexed(call: Call) -> list[Layout]:
    tensor, indices = call.arguments["self"], list(call.arguments["indices"])
    (output,) = call.outputs
    indices += [None] * (tensor.ndim - len(indices))
    if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return _refused(call)
    by = [dim for dim, index in enumerate(indices) if index is not None]
    adjacent = by == list(range(by[0], by[-1] + 1))
    layout = call.layout(tensor)
    touched = [block for block in layout if not set(by).isdisjoint(block.dims)]
    if touched or not adjacent:
        if layout and len(by) == 1 and indices[by[0]].ndim == 1:
            return [call.ties.taken(layout, by[0], indices[by[0]].cpu().numpy())]
        return _refused(call)
    added = output.ndim - tensor.ndim
    names = {dim: dim if dim < by[0] else dim + added for dim in range(tensor.ndim)}
    return [tuple(block.moved(names) for block in layout)]


def _concatenated(call: Call) -> list[Layout]:
    tensors = [tensor for tensor in call.arguments["tensors"] if tensor.shape != (0,)]
    dim = call.arguments["dim"] % tensors[0].ndim
    return [call.ties.joined([call.operand(tensor) for tensor in tensors], dim)]


def _stacked(call: Call) -> list[Layout]:
    tensors = call.arguments["tensors"]
    (output,) = call.outputs
    dim = call.arguments["dim"] % output.ndim
    names = [other for other in range(output.ndim) if other != dim]
    return [call.ties.combine([call.operand(tensor, names) for tensor in tensors])]


def _product(call: Call, one: Tensor, other: Tensor, added: Tensor | None = None) -> list[Layout]:
    """Matrix products of ``(..., n, k)`` and ``(..., k, m)``; the sum over k is one over its channels."""
    (output,) = call.outputs
    batch = one.ndim - 2
    n, m, k = batch, batch + 1, batch + 2
    left = call.operand(one, [*range(batch), n, k])
    right = call.operand(other, [*range(batch), k, m])
    layout = call.ties.reduced(call.ties.combine([left, right]), [k])
    if added is not None:
        made = Operand(layout, dict(enumerate(output.shape)))
        layout = call.ties.combine([made, call.aligned(added, output.ndim)])
    return [layout]


def _matrices(call: Call) -> list[Layout]:
    one, other = call.tensors()[-2:]
    added = None if call.name in ("mm", "bmm") else call.arguments["self"]
    return _product(call, one, other, added)


def _vector_product(call: Call) -> list[Layout]:
    matrix, vector = call.tensors()[-2:]
    combined = call.ties.combine([call.operand(matrix), call.operand(vector, [1])])
    return [call.ties.reduced(combined, [1])]


def _linear(call: Call) -> list[Layout]:
    tensor, weight, bias = (call.arguments[name] for name in ("input", "weight", "bias"))
    (output,) = call.outputs
    last = output.ndim - 1
    left = call.operand(tensor, [*range(last), last + 1])
    layout = call.ties.reduced(call.ties.combine([left, call.operand(weight, [last, last + 1])]), [last + 1])
    if bias is not None:
        layout = call.ties.combine(
            [Operand(layout, dict(enumerate(output.shape))), call.operand(bias, [last])]
        )
    return [layout]


def _embedded(call: Call) -> list[Layout]:
    weight, indices = call.arguments["weight"], call.arguments["indices"]
    call.ties.fix_all(call.layout(indices), FOREIGN)
    for block in call.layout(weight):
        if 0 in block.dims:
            call.ties.fix(block.nodes, "they are numbers that the input holds")
    (output,) = call.outputs
    left = tuple(block for block in call.layout(weight) if block.dims == (1,))
    return [tuple(block.moved({1: output.ndim - 1}) for block in left)]


def _convolved(call: Call) -> list[Layout]:
    tensor, weight, bias = (call.arguments[name] for name in ("input", "weight", "bias"))
    groups, transposed = call.arguments["groups"], call.arguments["transposed"]
    for held in (tensor, weight):
        sliding = [block for block in call.layout(held) if any(dim > 1 for dim in block.dims)]
        call.ties.fix_all(sliding, "a convolution slides along them")
    if loses_groups(groups):
        made = _groups_met(call, tensor, weight, groups, transposed)
    elif groups > 1:
        made = _met_in_groups(call, tensor, weight, groups, transposed)
    else:
        taken, given = (0, 1) if transposed else (1, 0)
        call.ties.combine([_row(call, tensor, 1), _row(call, weight, taken)])
        made = _row(call, weight, given)
    parts = [made] + ([] if bias is None else [_row(call, bias, 0)])
    return [tuple(block.moved({0: 1}) for block in call.ties.combine(parts))]


def _row(call: Call, tensor: Tensor, dim: int, units: int | None = None) -> Operand:
    """Return one dimension of a tensor as an operand; with ``units``, whole units of its channels."""
    nodes = call.ties.along(call.layout(tensor), dim)
    size = units or tensor.shape[dim]
    if nodes is not None and units is not None:
        nodes = call.ties.tie_along(nodes.reshape(units, -1), [1])
    layout = () if nodes is None else (Block((0,), nodes),)
    return Operand(layout, {0: size}, call.layouts(tensor) is None)


def _groups_met(call: Call, tensor: Tensor, weight: Tensor, groups: int, transposed: bool) -> Operand:
    """Tie the channels of every group of a convolution, in and out; return those that go out."""
    inner = call.ties.along(call.layout(weight), 1)
    if inner is not None:  # of a weight that no convolution holds
        call.ties.fix(inner, "they are the channels of one group")
    units = call.ties.combine([_row(call, tensor, 1, groups), _row(call, weight, 0, groups)])
    if not transposed:
        return _row(call, weight, 0)
    repeat = weight.shape[1]
    layout = tuple(Block((0,), np.repeat(block.nodes, repeat)) for block in units)
    return Operand(layout, {0: groups * repeat})


def _met_in_groups(call: Call, tensor: Tensor, weight: Tensor, groups: int, transposed: bool) -> Operand:
    """Tie the same channels of all groups of a convolution, those in and those out; return those that go out."""
    inner = _row(call, weight, 1)
    taken, outer = (_over_groups(call, held, dim, groups) for held, dim in ((tensor, 1), (weight, 0)))
    call.ties.combine([taken, outer if transposed else inner])
    made = inner if transposed else outer
    layout = tuple(Block((0,), np.tile(block.nodes, groups)) for block in made.layout)
    return Operand(layout, {0: groups * made.sizes[0]})


def _over_groups(call: Call, tensor: Tensor, dim: int, groups: int) -> Operand:
    """Return the channels of one group, tied to those of the others."""
    nodes = call.ties.along(call.layout(tensor), dim)
    layout = () if nodes is None else (Block((0,), call.ties.tie_along(nodes.reshape(groups, -1), [0])),)
    return Operand(layout, {0: tensor.shape[dim] // groups}, call.layouts(tensor) is None)


def _normalized(call: Call) -> list[Layout]:
    """Norms over the last dimensions, or elementwise with several outputs of which the first matters."""
    output = call.outputs[0]
    layout = call.ties.combine([call.aligned(tensor, output.ndim) for tensor in call.tensors()])
    return [layout, *(() for _ in call.outputs[1:])]


def _normalized_by_channel(call: Call) -> list[Layout]:
    tensors = call.tensors()
    operands = [call.operand(tensors[0]), *(call.operand(held, [1]) for held in tensors[1:])]
    layout = call.ties.combine(operands)
    groups = call.arguments.get("group", 1)
    if groups > 1:
        nodes = call.ties.along(layout, 1)
        if nodes is not None:
            call.ties.tie_along(nodes.reshape(groups, -1), [1])
    return [layout, *(() for _ in call.outputs[1:])]


def _shuffled(call: Call) -> list[Layout]:
    """Channels that become pixels, or columns that become pixels: those of one go together."""
    tensor = call.tensors()[0]
    (output,) = call.outputs
    dim = tensor.ndim - 3 if call.name == "pixel_shuffle" else 1
    nodes = call.ties.along(call.layout(tensor), dim)
    if nodes is None:
        return [()]
    count = output.shape[dim]
    return [(Block((dim,), call.ties.tie_along(nodes.reshape(count, -1), [1])),)]


def _unshuffled(call: Call) -> list[Layout]:
    """Pixels that become channels, or columns."""
    tensor = call.tensors()[0]
    (output,) = call.outputs
    dim = tensor.ndim - 3 if call.name == "pixel_unshuffle" else 1
    nodes = call.ties.along(call.layout(tensor), dim)
    if nodes is None:
        return [()]
    return [(Block((dim,), np.repeat(nodes, output.shape[dim] // tensor.shape[dim])),)]


def _mixed(call: Call) -> list[Layout]:
    """Torch's channel shuffle."""
    tensor = call.tensors()[0]
    nodes = call.ties.along(call.layout(tensor), 1)
    if nodes is None:
        return [()]
    groups = call.arguments["groups"]
    left = call.ties.tie_along(nodes.reshape(groups, -1), [0])
    return [(Block((1,), np.repeat(left, groups)),)]


def _unfolded(call: Call) -> list[Layout]:
    tensor, dim = call.arguments["self"], call.arguments["dimension"] % call.arguments["self"].ndim
    call.ties.fix_all((b for b in call.layout(tensor) if dim in b.dims), "windows slide along them")
    return [tuple(block for block in call.layout(tensor) if dim not in block.dims)]


def _packed(call: Call) -> list[Layout]:
    """Sequences of several lengths in one row, and back."""
    tensor = call.tensors()[0]
    shift = -1 if call.name == "_pack_padded_sequence" else 1
    kept = [block for block in call.layout(tensor) if block.dims == (tensor.ndim - 1,)]
    moved = tuple(block.moved({tensor.ndim - 1: tensor.ndim - 1 + shift}) for block in kept)
    return [moved, *(() for _ in call.outputs[1:])]


_BY_RULE: tuple[tuple[Rule, str], ...] = (
    (_viewed, "view _unsafe_view _reshape_alias _reshape_copy reshape squeeze unsqueeze view_copy flatten"),
    (_permuted, "permute transpose t numpy_T"),
    (_expanded, "expand"),
    (_repeated, "repeat"),
    (_sliced, "slice"),
    (_pieces, "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unsafe_chunk"),
    (_selected, "select unbind"),
    (_index_selected, "index_select"),
    (_indexed, "index"),
    (_concatenated, "cat"),
    (_stacked, "stack"),
    (_matrices, "mm bmm addmm baddbmm _addmm_activation"),
    (_vector_product, "mv addmv"),
    (_linear, "linear"),
    (_embedded, "embedding _embedding_bag"),
    (_convolved, "convolution _convolution convolution_overrideable"),
    (_normalized, "native_layer_norm layer_norm rms_norm _fused_rms_norm _weight_norm_interface"),
    (
        _normalized_by_channel,
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training",
    ),
    (_normalized_by_channel, "cudnn_batch_norm miopen_batch_norm _batch_norm_with_update native_group_norm"),
    (_normalized_by_channel, "_batch_norm_no_update _native_batch_norm_legit_functional"),
    (_reduction, "sum mean amax amin prod any all logsumexp argmax argmin var std var_mean std_mean norm"),
    (_reduction, "linalg_vector_norm aminmax nansum max min"),
    (_ordered, "cumsum cumprod cummax cummin logcumsumexp sort argsort topk kthvalue median mode flip roll"),
    (_ordered, "triu tril rot90 _fft_r2c _fft_c2c _fft_c2r"),
    (_shuffled, "pixel_shuffle col2im"),
    (_unshuffled, "pixel_unshuffle im2col"),
    (_mixed, "channel_shuffle native_channel_shuffle"),
    (_unfolded, "unfold"),
    (_packed, "_pack_padded_sequence _pad_packed_sequence"),
    (_strided, "as_strided"),
)
_RULES: dict[str, Rule] = {name: rule for rule, names in _BY_RULE for name in names.split()}
