"""Attributes of modules that hold the number of channels, and have to follow it."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from nas.choices import Expression, Size
from nas.supernet.cut.places import FEATURES, list_tensors, loses_groups

Lengths = Callable[[str, int], Size]
"""Returns how many positions of a tensor's dimension are active."""


def sizes_of(module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    """Return the attributes of a module that hold sizes, with what they are now; tuples aside."""
    for kinds, rule in _RULES:
        if isinstance(module, kinds):
            return {name: size for name, size in rule(module, lengths).items() if name in vars(module)}
    if {"nx", "nf"} <= vars(module).keys():  # Conv1D of transformers: a linear layer, its weight transposed
        return {"nx": lengths("weight", 0), "nf": lengths("weight", 1)}
    return _equal(module, lengths)


def keeps_known_sizes(module: nn.Module) -> bool:
    """Whether it is known which attributes of a module are sizes; of others they are guessed."""
    kinds = (*(kind for kind, _ in _RULES), nn.MultiheadAttention)
    return isinstance(module, kinds) or {"nx", "nf"} <= vars(module).keys()


def shape_of(module: nn.Module, lengths: Lengths) -> tuple[Size, ...] | None:
    """Return the shape over which a norm normalises, or None where it has none."""
    shape = vars(module).get("normalized_shape")
    if not isinstance(shape, tuple | list):
        return None
    names = [name for name, tensor in list_tensors(module) if tuple(tensor.shape) == tuple(shape)]
    if not names:
        return (lengths(FEATURES, 0),) if len(shape) == 1 else None
    return tuple(lengths(names[0], dim) for dim in range(len(shape)))


def _equal(module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    """Return the numbers that equal the length of a dimension: those of a module that we don't know."""
    known: dict[int, list[Size]] = {}
    for name, tensor in list_tensors(module):
        for dim, whole in enumerate(tensor.shape):
            known.setdefault(whole, []).append(lengths(name, dim))
    found = {}
    for attribute, value in vars(module).items():
        sizes = known.get(value, []) if isinstance(value, int) and not isinstance(value, bool) else []
        # Of a length that two dimensions have, only what both become alike is sure; 1 may mean anything.
        if value != 1 and sizes and all(str(size) == str(sizes[0]) for size in sizes):
            found[attribute] = sizes[0]
    return found


def _over(size: Size, unit: int) -> Size:
    return size if unit == 1 else size // unit


def _convolution(module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    assert isinstance(module, nn.modules.conv._ConvNd)
    if module._parameters.get("weight") is None:  # computed anew each time
        return {}
    first, second = lengths("weight", 0), lengths("weight", 1)
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    if not loses_groups(module.groups):
        second = second if module.groups == 1 else second * module.groups
        made, taken = (second, first) if transposed else (first, second)
        return {"out_channels": made, "in_channels": taken}
    units = (module.in_channels // module.groups, module.out_channels // module.groups)
    groups = _over(first, units[0] if transposed else units[1])
    return {"groups": groups, "in_channels": groups * units[0], "out_channels": groups * units[1]}


def _linear(_module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    return {"out_features": lengths("weight", 0), "in_features": lengths("weight", 1)}


def _embedding(_module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    return {"embedding_dim": lengths("weight", 1)}


def _recurrent(_module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    return {"input_size": lengths("weight_ih_l0", 1), "hidden_size": lengths("weight_hh_l0", 1)}


def _cell(_module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    return {"input_size": lengths("weight_ih", 1), "hidden_size": lengths("weight_hh", 1)}


def _channels(module: nn.Module, lengths: Lengths) -> Size:
    """Return the number of channels of a module whose tensors run along them."""
    names = [name for name, _ in list_tensors(module)]
    return lengths(names[0] if names else FEATURES, 0)


def _norm(module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    return {"num_features": _channels(module, lengths)}


def _group_norm(module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    assert isinstance(module, nn.GroupNorm)
    channels = _channels(module, lengths)
    if module.num_groups == 1 or not isinstance(channels, Expression):
        return {"num_channels": channels}
    unit = module.num_channels // module.num_groups
    return {"num_channels": channels, "num_groups": _over(channels, unit)}


def _slopes(module: nn.Module, lengths: Lengths) -> dict[str, Size]:
    return {"num_parameters": _channels(module, lengths)}


_RULES: tuple[tuple[type[nn.Module], Callable[[nn.Module, Lengths], dict[str, Size]]], ...] = (
    (nn.modules.conv._ConvNd, _convolution),
    (nn.Linear, _linear),
    (nn.Embedding, _embedding),
    (nn.RNNBase, _recurrent),
    (nn.RNNCellBase, _cell),
    (nn.modules.batchnorm._NormBase, _norm),
    (nn.GroupNorm, _group_norm),
    (nn.PReLU, _slopes),
)
