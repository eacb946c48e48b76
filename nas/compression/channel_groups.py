"""Channels and heads that can be left out of a network, each with all the places where it lies (Fang 2023).

Torch-Pruning traces which layers are coupled. What it can't know is added here: where a network's output and the
heads of attention are, and which of its groups don't hold.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from nas.compression.heads import Holder, head_holders, open_attention
from nas.inputs import Inputs, call_network
from nas.supernet.unfused import without_fast_path

_NORMS = (OPTYPE.BN, OPTYPE.LN, OPTYPE.GN, OPTYPE.IN)
_MIXING = ("ScaledDotProduct", "Softmax")
"""Operations by which channels of different layers become those of one attention."""


@final
@dataclass(frozen=True)
class ChannelSlice:
    """Where channels of a group lie: ``tensor`` holds channel ``roots[i]`` at ``positions[i]`` of ``dim``."""

    tensor: nn.Parameter
    dim: int
    positions: Tensor
    roots: Tensor


@final
@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be left out together, in all places at once.

    Args:
        name: Name of the layer that gives them; of the layer that reads all heads of attention, and ``.heads``.
        units: ``(n, size)`` int64: what is kept or left out whole is a row, such as the channels of a head.
        slices: Where they lie.
        holders: Attributes that say how many heads there are; only attention has any.
        prune: Leaves out these channels.
    """

    name: str
    units: Tensor
    slices: tuple[ChannelSlice, ...]
    holders: tuple[Holder, ...]
    prune: Callable[[list[int]], None]

    def multiple(self, round_to: int) -> int:
        """Return of how many units there should be a multiple, so that there is one of ``round_to`` channels."""
        size = self.units.shape[1]
        return 1 if self.holders else math.lcm(round_to, size) // size

    def keep(self, units: Tensor) -> None:
        """Leave out all units but these."""
        left = torch.ones(len(self.units), dtype=torch.bool)
        left[units] = False
        if left.any():
            self.prune(self.units[left].flatten().sort().values.tolist())
            for holder in self.holders:
                setattr(holder.module, holder.attribute, len(units) * holder.per_head)


def channel_groups(network: nn.Module, example: Inputs) -> list[ChannelGroup]:
    """Return what can be left out of a network, without changing its output's shape.

    Torch's multi-head attention is replaced by the same with layers of its own, so that whole heads can go.

    Args:
        network: In evaluation mode; all of its parameters can be trained.
        example: A small batch on its device.
    """
    open_attention(network)
    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad(), without_fast_path(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its notes on parameters outside layers of torch.nn
        graph.build_dependency(
            network,
            example,
            forward_fn=call_network,
            output_transform=torch.clone,  # an operation of its own, which marks the output
            verbose=False,
        )
        found = [_group(graph, network, group) for group in graph.get_all_groups()]
    groups = [group for group in found if group is not None and len(group.units) > 1]
    holders = [holder for group in groups for holder in group.holders]
    # Where two groups lie in the same heads, leaving out one's would leave the other's number of heads wrong.
    return [group for group in groups if all(holders.count(holder) == 1 for holder in group.holders)]


def _group(graph: Any, network: nn.Module, group: Any) -> ChannelGroup | None:
    """Return a group of Torch-Pruning's as one of ours, or None where its channels must stay."""
    targets = [dependency.target for dependency, _ in group]
    if any(target.type == OPTYPE.OUTPUT for target in targets):
        return None
    is_attention = any(word in _operation(target) for target in targets for word in _MIXING)
    group = _from_reader(graph, group) if is_attention else group
    slices = None if group is None else _find_slices(graph, group)
    if slices is None:
        return None
    size = len(group[0].idxs)
    holders = head_holders(network, _layer_names(graph, group), size) if is_attention else ()
    units = _units(size, targets, holders)
    if units is None or (is_attention and not holders):
        return None
    root, function = group[0].dep.target.module, group[0].dep.handler

    def prune(channels: list[int]) -> None:
        graph.get_pruning_group(root, function, channels).prune(record_history=False)

    name = graph._module2name[root] + (".heads" if is_attention else "")
    return ChannelGroup(name, units, slices, holders, prune)


def _operation(target: Any) -> str:
    return str(target.module) if target.type == OPTYPE.ELEMENTWISE else ""


def _from_reader(graph: Any, group: Any) -> Any:
    """Return the group of an attention as the layer sees it that reads what all heads give, or None for none."""
    readers = [dependency for dependency, _ in group if _reads(graph, dependency)]
    if len(readers) != 1:
        return None
    layer, function = readers[0].target.module, readers[0].handler
    return graph.get_pruning_group(layer, function, list(range(graph.get_in_channels(layer))))


def _reads(graph: Any, dependency: Any) -> bool:
    is_layer = dependency.target.type in (OPTYPE.CONV, OPTYPE.LINEAR)
    return is_layer and not graph.is_out_channel_pruning_fn(dependency.handler)


def _layer_names(graph: Any, group: Any) -> list[str]:
    layers = [d.target.module for d, _ in group if d.target.type in (OPTYPE.CONV, OPTYPE.LINEAR)]
    return [graph._module2name[layer] for layer in layers]


def _units(size: int, targets: Sequence[Any], holders: Sequence[Holder]) -> Tensor | None:
    """Return what must be left out whole: heads, or one channel of each of a layer's groups."""
    order = torch.arange(size)
    if holders:
        return order.view(holders[0].num_heads, -1)
    groups = math.lcm(*(_num_groups(target) for target in targets))
    # A grouped convolution must keep as many channels in each group, so one channel of each goes at a time.
    return None if size % groups else order.view(groups, -1).T


def _num_groups(target: Any) -> int:
    if target.type == OPTYPE.GN:
        return int(target.module.num_groups)
    return int(target.module.groups) if target.type == OPTYPE.CONV else 1


def _find_slices(graph: Any, group: Any) -> tuple[ChannelSlice, ...] | None:
    """Return where the channels of a group lie, or None where that can't be."""
    found: list[ChannelSlice] = []
    for item in group:
        target, positions, roots = item.dep.target, torch.tensor(item.idxs), item.root_idxs
        tensors = _tensors(graph, target, is_read=_reads(graph, item.dep))
        if tensors is None or (tensors and any(root is None for root in roots)):
            return None
        for tensor, dim, period in tensors:
            one = ChannelSlice(tensor, dim, positions % period if period else positions, torch.tensor(roots))
            if int(one.positions.max()) >= tensor.shape[dim]:
                return None
            found.append(one)
    return tuple(found) or None


def _tensors(graph: Any, target: Any, *, is_read: bool) -> list[tuple[nn.Parameter, int, int]] | None:
    """Return the tensors of a layer that hold channels: each with its dimension, and after how many they repeat.

    None where the layer is none that channels can be left out of.
    """
    layer, kind = target.module, target.type
    if kind == OPTYPE.PARAMETER:
        owner, _, _ = graph._param_to_name[layer].rpartition(".")
        is_recurrent = isinstance(graph.model.get_submodule(owner), nn.RNNBase)
        return None if is_recurrent else [(layer, target.pruning_dim, 0)]
    if kind in (OPTYPE.MHA, OPTYPE.LSTM) or (kind == OPTYPE.LN and len(layer.normalized_shape) > 1):
        return None
    if kind in (OPTYPE.CONV, OPTYPE.LINEAR):
        turned = kind == OPTYPE.CONV and layer.transposed
        if turned and layer.groups > 1:
            return None
        if is_read:
            period = layer.in_channels // layer.groups if kind == OPTYPE.CONV else 0
            return [(layer.weight, 0 if turned else 1, period)]
        return [(layer.weight, 1 if turned else 0, 0), *_vectors(layer.bias)]
    if kind == OPTYPE.EMBED:
        return [(layer.weight, 1, 0)]
    if kind == OPTYPE.PRELU:
        return [] if layer.num_parameters == 1 else _vectors(layer.weight)
    if kind == OPTYPE.DEPTHWISE_CONV or kind in _NORMS:
        return _vectors(layer.weight, layer.bias)
    return []


def _vectors(*tensors: nn.Parameter | None) -> list[tuple[nn.Parameter, int, int]]:
    return [(tensor, 0, 0) for tensor in tensors if tensor is not None]
