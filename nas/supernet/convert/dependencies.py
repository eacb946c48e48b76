"""Finds groups of coupled channels: those that must be cut together, everywhere they occur in a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from torch import nn

from nas.errors import one_line
from nas.space import IntArray
from nas.supernet.convert.branches import Branch
from nas.supernet.convert.following import Followed, follow
from nas.supernet.copying import copy_module
from nas.supernet.cut import OUT, Place, axis_name, channel_dims, list_tensors, why_whole
from nas.supernet.cut_attention import runs_along_heads, why_whole_attention

OUTPUT = "they are the output of the network"
_Members = dict[int, list[tuple[Place, int]]]
"""The places where the channel of each class occurs, and the positions there."""


@final
@dataclass(frozen=True)
class Segment:
    """A range of positions in a module's tensor that holds a group's channels, in order.

    Args:
        path: Path of the module.
        axis: ``in`` or ``out``.
        tensor: Name of the tensor that the module holds.
        dim: Dimension of the tensor.
        start: First position.
        repeat: Positions per channel; more than one behind a flattened image.
    """

    path: str
    axis: str
    tensor: str
    dim: int
    start: int
    repeat: int


@final
@dataclass(frozen=True)
class ChannelGroup:
    """Coupled channels whose number is one choice. They have the same order everywhere they occur.

    Args:
        name: Path of the first layer that makes them.
        size: Number of channels; those that can only be cut together count as one.
        segments: All places where they occur.
        unit: How many of that layer's channels count as one, because they share a group of a convolution or of a norm.
    """

    name: str
    size: int
    segments: tuple[Segment, ...]
    unit: int = 1


@final
@dataclass(frozen=True)
class Fixed:
    """Axes that stay fixed, each as (path, axis), and the reason."""

    axes: tuple[tuple[str, str], ...]
    reason: str


def channel_groups(
    model: nn.Module, branches: Sequence[Branch], keep: Iterable[str]
) -> tuple[list[ChannelGroup], list[Fixed], dict[str, tuple[str, ...]]]:
    """Return the groups of coupled channels, and what can't be elastic. If channels can't be followed, nothing can.

    Args:
        model: In evaluation mode; isn't changed.
        branches: Branches that its ``forward`` takes.
        keep: Paths of modules to leave alone, with what is inside them.

    Returns:
        The groups, what stays fixed, and the layers that no branch uses, by the path of the module that may use them.
    """
    model = copy_module(model)  # a forward may change its buffers
    try:
        followed = follow(model, [branch for branch in branches if branch.new_calls])
    except Exception as error:  # whatever a user's forward raises where its operations are watched
        return [], [Fixed(_every_axis(model), f"the network can't be traced ({one_line(error)})")], {}
    return *_Coupling(model, followed, tuple(keep)).groups(), followed.unused


def _every_axis(model: nn.Module) -> tuple[tuple[str, str], ...]:
    axes = (
        (path, axis_name(module, name, dim))
        for path, module in model.named_modules()
        for name, tensor in list_tensors(module)
        for dim in channel_dims(module, tensor)
    )
    return tuple(dict.fromkeys(axes))


class _Coupling:
    """Sorts positions into classes: those that can only be cut together are one class."""

    def __init__(self, model: nn.Module, followed: Followed, keep: tuple[str, ...]) -> None:
        self._modules = dict(model.named_modules())
        self._learned = {path for path, m in self._modules.items() if _learns(m)}
        self._places = {
            place: nodes
            for place, nodes in followed.places.items()
            if place in followed.used and not self._along_heads(place)
        }
        self._fix(followed, keep)
        labels, self._reasons = followed.ties.classes()
        self._labels = {place: labels[nodes].tolist() for place, nodes in self._places.items()}

    def _fix(self, followed: Followed, keep: tuple[str, ...]) -> None:
        """Add ties and fixed axes that follow from the modules' own attributes."""
        ties = followed.ties
        for layout in followed.outputs:
            ties.fix_all(layout, OUTPUT)
        for owner, (layer, *_) in followed.unused.items():
            for layout in followed.sight.of(owner):
                ties.fix_all(layout, f"{layer}, which the example doesn't use, may use them in another case")
        hidden: dict[str, list[IntArray]] = {}
        for place, nodes in self._places.items():
            reason = self._why_fixed(place, keep)
            if reason is not None:
                ties.fix(nodes, reason)
            if isinstance(self._modules[place.path], nn.RNNBase) and place.dim and "_hh_" in place.name:
                hidden.setdefault(place.path, []).append(nodes)
        for first, *others in hidden.values():
            for nodes in others:  # one number is the size of all layers and directions
                ties.tie(first, nodes)

    def _along_heads(self, place: Place) -> bool:
        """Whether the dimension runs along the heads of torch's attention, which have their own choice."""
        outer = self._modules[place.path.rpartition(".")[0]]
        return runs_along_heads(self._modules[place.path], outer, place.name, place.dim)

    def _why_fixed(self, place: Place, keep: tuple[str, ...]) -> str | None:
        path = place.path
        if any(path == kept or path.startswith(f"{kept}.") for kept in keep):
            return f"{path} is to be kept"
        module, outer = self._modules[path], self._modules[path.rpartition(".")[0]]
        for attention in (module, outer):
            if isinstance(attention, nn.MultiheadAttention) and (reason := why_whole_attention(attention)):
                where = path if attention is module else path.rpartition(".")[0]
                return f"they are the embedding of attention {where}: {reason}"
        reason = why_whole(module)
        return reason and f"they reach {path}, {reason}"

    def groups(self) -> tuple[list[ChannelGroup], list[Fixed]]:
        """Return groups of classes that have the same order wherever they occur, and the axes that stay fixed."""
        members: _Members = {}
        for place, labels in self._labels.items():
            for position, label in enumerate(labels):
                members.setdefault(label, []).append((place, position))
        by_reason: dict[str, dict[tuple[str, str], None]] = {}
        for label, reason in self._reasons.items():
            axes = dict.fromkeys(self._axis(place) for place, _ in members.get(label, ()))
            by_reason.setdefault(reason, {}).update(axes)
        fixed = [Fixed(tuple(axes), reason) for reason, axes in by_reason.items() if axes]
        seen, names, groups = set(self._reasons), Counter[str](), []
        for place in sorted(self._labels, key=self._rank):
            for row in _rows(self._labels[place], members, seen):
                segments = _segments(row, members)
                if not any(place.path in self._learned for label in row for place, _ in members[label]):
                    continue  # tables of numbers, such as frequencies, that no layer has to do with
                if segments is None:
                    axes = dict.fromkeys(self._axis(place) for label in row for place, _ in members[label])
                    fixed.append(Fixed(tuple(axes), "they are in another order somewhere (interleaved)"))
                else:
                    names[place.path] += 1
                    number = names[place.path]
                    name = place.path if number == 1 else f"{place.path}.{number}"
                    unit = next(repeat for found, _, repeat in segments if found == place)
                    groups.append(ChannelGroup(name, len(row), self._name_segments(segments), unit))
        return groups, fixed

    def _rank(self, place: Place) -> int:
        """Return 0 for outputs of layers, which name the groups, and larger numbers for what takes them."""
        layer = self._modules[place.path]
        tensor = dict(list_tensors(layer)).get(place.name)
        makes = tensor is not None and tensor.ndim > 1 and not any(layer.children())
        return (not makes) + 2 * (self._axis(place)[1] != OUT)

    def _axis(self, place: Place) -> tuple[str, str]:
        return place.path, axis_name(self._modules[place.path], place.name, place.dim)

    def _name_segments(self, found: list[tuple[Place, int, int]]) -> tuple[Segment, ...]:
        return tuple(
            Segment(place.path, self._axis(place)[1], place.name, place.dim, start, repeat)
            for place, start, repeat in found
        )


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _segments(row: list[int], members: _Members) -> list[tuple[Place, int, int]] | None:
    """Return the segments of a row of classes, or None if it occurs in another order somewhere."""
    places: dict[Place, list[tuple[int, int]]] = {}
    for rank, label in enumerate(row):
        for key, position in members[label]:
            places.setdefault(key, []).append((position, rank))
    segments: list[tuple[Place, int, int]] = []
    for place, pairs in places.items():
        pairs.sort()
        while pairs:
            start = pairs[0][0]
            # As many positions as the first channel takes in a row: one, or more behind a flattened image.
            repeat = next((n for n, (_, rank) in enumerate(pairs) if rank), len(pairs))
            whole = len(row) * repeat
            if pairs[:whole] != [(start + n, n // repeat) for n in range(whole)]:
                return None
            segments.append((place, start, repeat))
            pairs = pairs[whole:]
    return segments


def _rows(labels: list[int], members: _Members, seen: set[int]) -> Iterator[list[int]]:
    """Split the classes along an axis into rows whose classes occur in the same places."""
    row: list[int] = []
    last = None
    for label in labels:
        if row and label == row[-1]:
            continue  # another position of the same channel
        # Channels of one row occur in the same tensors equally often; where that changes, another row begins.
        occurrence = None if label in seen else Counter(place for place, _ in members[label])
        if row and occurrence != last:
            yield row
            row = []
        last = occurrence
        if occurrence is not None:
            seen.add(label)
            row.append(label)
    if row:
        yield row
