"""Which channels go together: Torch-Pruning's dependency graph (Fang 2023) in our words."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch_pruning
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn
from torch_pruning._helpers import _HybridIndex

from nas.errors import one_line
from nas.supernet.convert.example import Example
from nas.supernet.convert.tracing import output_layers, traced
from nas.supernet.cut import IN, OUT, cut_type

_PRODUCERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding)
OUTPUT = "they are the output of the network"
_Key = tuple[Any, Any]
"""A node of Torch-Pruning's graph, and its function that prunes one side of it."""
_Members = dict[int, list[tuple[tuple[str, str], int]]]
"""By class, the axes and places where its channel occurs."""


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
    """Channels in a row that follow one choice: everywhere they occur, they are in the same order.

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


def channel_groups(
    model: nn.Module, inputs: Example, keep: Iterable[str]
) -> tuple[list[ChannelGroup], list[Fixed]]:
    """Return the groups of coupled channels, and those that can't be elastic: all, where tracing fails.

    Args:
        model: In evaluation mode; isn't changed.
        inputs: Of its ``forward``.
        keep: Paths of modules to leave alone, with what is inside them.
    """
    model = copy.deepcopy(model)  # where tracing fails, Torch-Pruning leaves its hooks behind
    try:
        coupling = _Coupling(model, traced(model, inputs), output_layers(model, inputs), tuple(keep))
        return coupling.groups()
    except Exception as error:  # whatever Torch-Pruning trips over
        said = one_line(error)
        return [], [Fixed(_every_axis(model), f"the network can't be traced ({said})")]


def _every_axis(model: nn.Module) -> tuple[tuple[str, str], ...]:
    kinds = ((path, cut_type(module)) for path, module in model.named_modules())
    return tuple((path, axis) for path, kind in kinds if not isinstance(kind, str) for axis in kind.AXES)


class _Coupling:
    """Every position of every axis is a node; positions that can only go together are one class.

    The edges are those of the dependency graph, followed once for each position. (Its own search starts
    anew from every layer, and takes very long where layers are shared.)
    """

    def __init__(self, model: nn.Module, graph: Any, last: set[str], keep: tuple[str, ...]) -> None:
        self._graph, self._keep, self._last = graph, keep, last
        self._names = {module: path for path, module in model.named_modules()}
        self._number = {path: number for number, path in enumerate(self._names.values())}
        self._shared = _sharing(self._names)
        self._nodes: dict[_Key, dict[int, int]] = {}
        self._count = 0
        found: list[nn.Module] = [
            m for m in graph.module2node if isinstance(m, _PRODUCERS) and m in self._names
        ]
        found.sort(key=lambda module: self._number[self._names[module]])
        self._beyond = 2 * max((self._longest(module) for module in found), default=0)
        self._producers = [(self._names[module], OUT) for module in found]
        links = coo_array(*self._links(found))
        self._labels: list[int] = connected_components(links, directed=False)[1].tolist()
        self._axes = {
            axis: nodes for key, nodes in self._nodes.items() if (axis := self._axis(key)) is not None
        }
        self._reasons = self._unfit()

    def _links(self, producers: list[nn.Module]) -> tuple[Any, tuple[int, int]]:
        """Follow every output channel of every layer to wherever it goes.

        Reshapes that the graph misunderstands multiply places without end. Those that lie beyond any layer's
        axis are one node, which isn't followed.
        """
        waiting: list[tuple[_Key, list[int]]] = []
        for module in producers:
            pruner = self._graph.get_pruner_of_module(module)
            key = (self._graph.module2node[module], pruner.prune_out_channels)
            waiting.append((key, self._new(key, range(pruner.get_out_channels(module)))))
        ones: list[int] = []
        others: list[int] = []
        while waiting:
            (node, function), places = waiting.pop()
            known = self._nodes[node, function]
            for dependency in node.dependencies:
                if places and dependency.is_triggered_by(function):
                    key = (dependency.target, dependency.handler)
                    pairs = [(min(to, self._beyond), origin) for to, origin in _mapped(dependency, places)]
                    fresh = self._new(key, (place for place, _ in pairs))
                    waiting.append((key, [place for place in fresh if place < self._beyond]))
                    there = self._nodes[key]
                    ones += [known[origin] for _, origin in pairs]
                    others += [there[place] for place, _ in pairs]
        shape = (self._count, self._count)
        return (np.ones(len(ones), dtype=np.int8), (ones, others)), shape

    def _new(self, key: _Key, places: Iterable[int]) -> list[int]:
        """Make nodes for places that have none, and return those places."""
        known = self._nodes.setdefault(key, {})
        fresh = [place for place in dict.fromkeys(places) if place not in known]
        known.update(zip(fresh, range(self._count, self._count + len(fresh)), strict=True))
        self._count += len(fresh)
        return fresh

    def _longest(self, module: nn.Module) -> int:
        pruner = self._graph.get_pruner_of_module(module)
        return int(max(pruner.get_in_channels(module), pruner.get_out_channels(module)))

    def _axis(self, key: _Key) -> tuple[str, str] | None:
        node, function = key
        path = self._names.get(node.module)
        if path is None or (isinstance(node.module, nn.PReLU) and node.module.num_parameters == 1):
            return None  # one slope fits all channels
        return path, OUT if self._graph.is_out_channel_pruning_fn(function) else IN

    def _unfit(self) -> dict[int, str]:
        """Return by class why it can't be elastic; of several reasons that of the first layer."""
        reasons: dict[int, str] = {}
        for key in sorted(
            self._nodes, key=lambda key: self._number.get(self._names.get(key[0].module, ""), -1)
        ):
            reason = self._why_unfit(key[0].module)
            nodes = self._nodes[key]
            if self._beyond in nodes:
                reasons.setdefault(
                    self._labels[nodes[self._beyond]], "they are rearranged too often to be followed"
                )
            axis = self._axis(key)
            if axis is not None and axis[0] in self._last and axis[1] == OUT:
                reason = OUTPUT
            if axis is not None and max(nodes, default=0) >= self._length(key):
                reason = reason or f"they are rearranged before {axis[0]}"
            if reason is not None:
                for node in nodes.values():
                    reasons.setdefault(self._labels[node], reason)
        return reasons

    def _length(self, key: _Key) -> int:
        node, function = key
        out = self._graph.is_out_channel_pruning_fn(function)
        return int(self._graph.get_out_channels(node) if out else self._graph.get_in_channels(node))

    def _why_unfit(self, target: Any) -> str | None:
        """Return why channels that reach ``target`` can't be elastic, or None."""
        if isinstance(target, nn.Parameter):
            return f"a parameter of shape {tuple(target.shape)} that no layer holds is combined with them"
        if isinstance(target, torch_pruning.ops._OutputOp):
            return OUTPUT
        path = self._names.get(target)
        if path is None:
            return None  # an operation between layers
        if any(path == kept or path.startswith(f"{kept}.") for kept in self._keep):
            return f"{path} is to be kept"
        if isinstance(target, nn.MultiheadAttention):
            return f"they are the embedding of attention {path}"
        kind = cut_type(target)
        if isinstance(kind, str):
            return f"they reach {path}, {kind}"
        if target in self._shared:
            return f"{path} shares its weight with {self._shared[target]}"
        held = {**target._parameters, **target._buffers}
        loose = [name for name, _ in kind.tensors() if name not in held]
        if loose:
            return f"the {loose[0]} of {path} is computed anew each time (weight norm, pruning)"
        return None

    def groups(self) -> tuple[list[ChannelGroup], list[Fixed]]:
        """Return rows of classes that stand in the same order wherever they occur, and what is unfit."""
        members: _Members = {}
        for axis, nodes in self._axes.items():
            for place, node in sorted(nodes.items()):
                members.setdefault(self._labels[node], []).append((axis, place))
        by_reason: dict[str, dict[tuple[str, str], None]] = {}
        for label, reason in self._reasons.items():
            by_reason.setdefault(reason, {}).update(dict.fromkeys(axis for axis, _ in members[label]))
        fixed = [Fixed(tuple(axes), reason) for reason, axes in by_reason.items()]
        seen, names, groups = set(self._reasons), Counter[str](), []
        for axis in self._producers:
            nodes = self._axes[axis]
            for row in _rows([self._labels[nodes[place]] for place in sorted(nodes)], members, seen):
                names[axis[0]] += 1
                name = axis[0] if names[axis[0]] == 1 else f"{axis[0]}.{names[axis[0]]}"
                segments = _segments(row, members)
                if segments is None:
                    axes = dict.fromkeys(axis for label in row for axis, _ in members[label])
                    fixed.append(Fixed(tuple(axes), "they are in another order somewhere (interleaved)"))
                else:
                    groups.append(ChannelGroup(name, len(row), segments))
        return groups, fixed


def _mapped(dependency: Any, places: list[int]) -> list[tuple[int, int]]:
    """Return where a dependency takes places: pairs of the place there and the place here."""
    if dependency.index_mapping[0] is None and dependency.index_mapping[1] is None:
        return [(place, place) for place in places]
    indices = [_HybridIndex(place, place) for place in places]
    for mapping in dependency.index_mapping:
        if mapping is not None:
            indices = mapping(indices)
    return [(index.idx, index.root_idx) for index in indices if index.idx >= 0]


def _segments(row: list[int], members: _Members) -> tuple[Segment, ...] | None:
    """Return where a row occurs, or None where it does in another order."""
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for rank, label in enumerate(row):
        for key, position in members[label]:
            places.setdefault(key, []).append((position, rank))
    segments: list[Segment] = []
    for (path, axis), pairs in places.items():
        pairs.sort()
        while pairs:
            start = pairs[0][0]
            repeat = next((n for n, (_, rank) in enumerate(pairs) if rank), len(pairs))
            whole = len(row) * repeat
            if pairs[:whole] != [(start + n, n // repeat) for n in range(whole)]:
                return None
            segments.append(Segment(path, axis, start, repeat))
            pairs = pairs[whole:]
    return tuple(segments)


def _rows(labels: list[int], members: _Members, seen: set[int]) -> Iterator[list[int]]:
    """Split the classes along an axis where they begin to occur elsewhere than those before."""
    row: list[int] = []
    last = None
    for label in labels:
        occurrence = None if label in seen else Counter(key for key, _ in members[label])
        if row and occurrence != last:
            yield row
            row = []
        last = occurrence
        if occurrence is not None:
            seen.add(label)
            row.append(label)
    if row:
        yield row


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
