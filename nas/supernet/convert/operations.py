"""Follows channels through every operation of torch.

An operation that isn't listed is assumed to work position by position if the shapes allow it. Otherwise all channels
that it takes must stay fixed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.supernet.convert import moves, products
from nas.supernet.convert.calls import Call, Rule, by_name, refuse, renumber
from nas.supernet.convert.labels import Layout


def layouts_after(call: Call) -> list[Layout]:
    """Return the layout of every output of a call, and add the ties that it causes."""
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
    return refuse(call)


def _elementwise(call: Call) -> list[Layout]:
    made = []
    for output in call.outputs:
        operands = [call.align(tensor, output.ndim) for tensor in call.tensors()]
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


def _keep_order(call: Call) -> list[Layout]:
    """Follow operations that depend on the order along some dimension."""
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
        _keep_order(call)
    left = call.ties.reduce(call.layout(tensor), dims)
    kept = [dim for dim in range(tensor.ndim) if dim not in dims]
    names = {dim: dim for dim in kept} if call.outputs[0].ndim == tensor.ndim else renumber(kept)
    return [tuple(block.move(names) for block in left) for _ in call.outputs]


_OWN: dict[str, Rule] = by_name(
    (_reduction, "sum mean amax amin prod any all logsumexp argmax argmin var std var_mean std_mean norm"),
    (_reduction, "linalg_vector_norm aminmax nansum max min"),
    (
        _keep_order,
        "cumsum cumprod cummax cummin logcumsumexp sort argsort topk kthvalue median mode flip roll",
    ),
    (_keep_order, "triu tril rot90 _fft_r2c _fft_c2c _fft_c2r"),
)
_RULES = {**_OWN, **moves.RULES, **products.RULES}
