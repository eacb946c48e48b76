"""Which channels go together: Torch-Pruning's dependency graph (Fang 2023) in our words."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

import torch
import torch_pruning
from torch import nn
from torch.utils._pytree import tree_leaves

from nas.errors import ConversionError
from nas.supernet.cut import IN, OUT, cut_type

_ROOTS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding)


@final
@dataclass(frozen=True)
class Segment:
    """Where a group's channels lie on an axis of a layer, in order.

    Args:
        path: Of the layer.
        axis: ``in`` or ``out``.
        start: Position of the first.
        repeat: Positions per channel; more than one behind a flattened image.
    """

    path: str
    axis: str
    start: int
    repeat: int


@final
@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be left out together.

    Args:
        name: Path of the first layer that makes them.
        size: How many.
        segments: Everywhere they occur.
    """

    name: str
    size: int
    segments: tuple[Segment, ...]


@final
@dataclass(frozen=True)
class Fixed:
    """Axes that stay as they are: (path, axis) each, and why."""

    axes: tuple[tuple[str, str], ...]
    reason: str


class _Unfit(Exception):
    """Why a group can't be elastic."""


def channel_groups(
    model: nn.Module, inputs: tuple[Any, ...], keep: Iterable[str]
) -> tuple[list[ChannelGroup], list[Fixed]]:
    """Return the groups of coupled channels, and those that can't be elastic.

    Args:
        model: In evaluation mode; isn't changed.
        inputs: Of its ``forward``.
        keep: Paths of modules to leave alone, with what is inside them.

    Raises:
        ConversionError: the model can't be traced.
    """
    last = _output_layers(model, inputs)
    graph = _traced(model, inputs)
    names = {module: path for path, module in model.named_modules()}
    position = {path: number for number, path in enumerate(names.values())}
    kept, shared = tuple(keep), _sharing(names)
    groups, fixed = [], []
    for found in graph.get_all_groups(root_module_types=_ROOTS):
        members = [(item.dep, item.idxs, item.root_idxs) for item in found]
        axes = sorted(
            {(names[dep.target.module], _axis(graph, dep)) for dep, _, _ in members if dep.target.module in names},
            key=lambda axis: position[axis[0]],
        )
        try:
            if names.get(members[0][0].target.module) in last:
                raise _Unfit("they are the output of the network")
            for dep, _, _ in members:
                _check_target(dep.target.module, names, kept, shared)
            segments = [
                segment
                for dep, places, roots in members
                if dep.target.module in names
                for segment in _segments(
                    names[dep.target.module], _axis(graph, dep), places, roots, len(members[0][1])
                )
            ]
            name = min((path for path, axis in axes if axis == OUT), key=position.__getitem__)
            groups.append(ChannelGroup(name, len(members[0][1]), tuple(segments)))
        except _Unfit as unfit:
            fixed.append(Fixed(tuple(axes), str(unfit)))
    groups.sort(key=lambda group: position[group.name])
    return groups, fixed


def _traced(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    graph = torch_pruning.DependencyGraph()
    wants = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        # Tracing follows the gradient, so frozen weights would hide what they belong to.
        model.requires_grad_(True)
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # on parameters outside of layers, which we report ourselves
            graph.build_dependency(model, inputs, forward_fn=lambda m, given: m(*given), verbose=False)
    except Exception as error:  # whatever Torch-Pruning trips over
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConversionError(
            f"{type(model).__name__} can't be traced ({said}): its output must be a tensor, or a list or dictionary "
            "of them, that torch can differentiate by its weights."
        ) from error
    finally:
        for parameter, wanted in wants.items():
            parameter.requires_grad_(wanted)
    return graph


@torch.no_grad()
def _output_layers(model: nn.Module, inputs: tuple[Any, ...]) -> set[str]:
    """Return the paths of the layers that make an output of the network themselves."""
    made: dict[str, Any] = {}

    def remember(path: str) -> Any:
        return lambda _module, _inputs, output: made.__setitem__(path, output)

    leaves = [(path, m) for path, m in model.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(remember(path)) for path, m in leaves]
    outputs = {id(output) for output in tree_leaves(model(*inputs))}
    for handle in handles:
        handle.remove()
    return {path for path, output in made.items() if id(output) in outputs}


def _axis(graph: Any, dep: Any) -> str:
    return OUT if graph.is_out_channel_pruning_fn(dep.handler) else IN


def _sharing(names: dict[nn.Module, str]) -> dict[nn.Module, str]:
    """Return the layers that use another layer's parameter, with that layer's path."""
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for module in names:
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, []).append(module)
    return {
        module: names[others[0] if others[0] is not module else others[1]]
        for others in owners.values()
        if len(others) > 1
        for module in others
    }


def _check_target(
    target: Any, names: dict[nn.Module, str], keep: tuple[str, ...], shared: dict[nn.Module, str]
) -> None:
    if isinstance(target, nn.Parameter):
        raise _Unfit(f"a parameter of shape {tuple(target.shape)} that no layer holds is combined with its channels")
    path = names.get(target)
    if path is None:
        return  # an operation between layers
    if any(path == kept or path.startswith(f"{kept}.") for kept in keep):
        raise _Unfit(f"{path} is to be kept")
    if isinstance(target, nn.MultiheadAttention):
        raise _Unfit(f"its channels are the embedding of attention {path}")
    kind = cut_type(target)
    if isinstance(kind, str):
        raise _Unfit(f"its channels reach {path}, {kind}")
    if target in shared:
        raise _Unfit(f"{path} shares its weight with {shared[target]}")
    loose = [name for name, _ in kind.tensors() if name not in target._parameters | target._buffers]
    if loose:
        raise _Unfit(f"the {loose[0]} of {path} is computed anew each time (weight norm, pruning)")


def _segments(
    path: str, axis: str, places: list[int], roots: list[int], size: int
) -> Iterable[Segment]:
    """Read positions and the channels they belong to as whole groups of ``size``, one behind the other.

    Raises:
        _Unfit: they are not.
    """
    pairs = sorted(zip(places, roots, strict=True))
    begin = 0
    while begin < len(pairs):
        repeat = 1
        while begin + repeat < len(pairs) and pairs[begin + repeat][1] == pairs[begin][1] and size > 1:
            repeat += 1
        start = pairs[begin][0]
        expected = [(start + number, number // repeat) for number in range(size * repeat)]
        if pairs[begin : begin + size * repeat] != expected:
            raise _Unfit(f"its channels are split or interleaved before {path}")
        yield Segment(path, axis, start, repeat)
        begin += size * repeat
