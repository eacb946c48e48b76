"""What may become elastic, and a module in which it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from nas.choices import Choice, Size, largest_value
from nas.supernet.activation import Activation
from nas.supernet.attending import Narrowing, attend_in_place
from nas.supernet.attention import CutAttention
from nas.supernet.convert.blocks import BlockRow
from nas.supernet.convert.dependencies import ChannelGroup, Segment
from nas.supernet.convert.importance import order_channels, order_heads
from nas.supernet.copying import copied
from nas.supernet.cut import Axis, Part, Several, cut_in_place, kernel_axes, total
from nas.supernet.resized import Resized
from nas.supernet.skipping import Skippable


@final
@dataclass(frozen=True)
class Width:
    """Elastic channels.

    Args:
        choice: How many.
        group: Where they lie.
        following: Paths of modules and names of their attributes, numbers or lists of numbers, that follow.
        staying: The same of numbers that don't follow, though they equal the length of a tensor there.
    """

    choice: Choice
    group: ChannelGroup
    following: tuple[tuple[str, str], ...] = ()
    staying: tuple[tuple[str, str], ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Modules that follow the choice."""
        paths = (segment.path for segment in self.group.segments)
        return tuple(dict.fromkeys((*paths, *(path for path, _ in self.following))))

    @property
    def size(self) -> int:
        """How many things can be put in order."""
        return self.group.size

    def order(self, model: nn.Module, order: Tensor) -> None:
        """Put the channels of ``model`` in order, in place."""
        order_channels(model, self.group, order)


@final
@dataclass(frozen=True)
class Heads:
    """Elastic heads of one attention."""

    choice: Choice
    path: str
    size: int

    @property
    def paths(self) -> tuple[str, ...]:
        """The attention."""
        return (self.path,)

    def order(self, model: nn.Module, order: Tensor) -> None:
        """Put the heads of ``model`` in order, in place."""
        attention = model.get_submodule(self.path)
        assert isinstance(attention, nn.MultiheadAttention)
        order_heads(attention, order)


@final
@dataclass(frozen=True)
class Depth:
    """Elastic depth of a row of blocks."""

    choice: Choice
    row: BlockRow

    @property
    def paths(self) -> tuple[str, ...]:
        """The blocks."""
        return self.row.paths


@final
@dataclass(frozen=True)
class Number:
    """An attribute of a module that holds the number of heads times ``repeat``."""

    path: str
    attribute: str
    repeat: int


@final
@dataclass(frozen=True)
class SplitHeads:
    """Elastic heads of an attention whose projections are layers of their own.

    Args:
        choice: How many heads.
        holders: Paths of the modules in whose ``forward`` the heads are.
        group: Where they lie, ``repeat`` positions each.
        numbers: What counts them.
        narrowing: Channels of the input, and size of a head, for a ``forward`` that takes the one for all of the
            others.
    """

    choice: Choice
    holders: tuple[str, ...]
    group: ChannelGroup
    numbers: tuple[Number, ...] = ()
    narrowing: tuple[int, int] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Modules that follow the choice."""
        segments, numbers = self.group.segments, self.numbers
        return tuple(dict.fromkeys((*self.holders, *(s.path for s in segments), *(n.path for n in numbers))))

    @property
    def size(self) -> int:
        """How many things can be put in order."""
        return self.group.size

    def order(self, model: nn.Module, order: Tensor) -> None:
        """Put the heads of ``model`` in order, in place."""
        order_channels(model, self.group, order)

    def apply(self, model: nn.Module) -> None:
        """Make the holders of ``model`` elastic, in place."""
        for path in self.holders:
            narrowing = None
            if self.narrowing is not None:
                channels, head_size = self.narrowing
                narrowing = Narrowing(channels, self.choice * head_size)
            attend_in_place(model.get_submodule(path), self.choice, narrowing)
        for number in self.numbers:
            size = self.choice if number.repeat == 1 else self.choice * number.repeat
            model.get_submodule(number.path).__dict__[number.attribute] = size

    def inside(self, path: str) -> SplitHeads:
        """Return the same with paths that begin at a module."""

        def from_there(whole: str) -> str:
            return whole.removeprefix(path).removeprefix(".")

        segments = tuple(replace(s, path=from_there(s.path)) for s in self.group.segments)
        return replace(
            self,
            holders=tuple(map(from_there, self.holders)),
            group=replace(self.group, segments=segments),
            numbers=tuple(replace(number, path=from_there(number.path)) for number in self.numbers),
        )


@final
@dataclass(frozen=True)
class Kernel:
    """Elastic kernel of one convolution."""

    choice: Choice
    path: str

    @property
    def paths(self) -> tuple[str, ...]:
        """The convolution."""
        return (self.path,)


@final
@dataclass(frozen=True)
class Activations:
    """Activations of one kind that may be of another."""

    choice: Choice
    paths: tuple[str, ...]


@final
@dataclass(frozen=True)
class Resolution:
    """Smaller images for the whole network."""

    choice: Choice

    @property
    def paths(self) -> tuple[str, ...]:
        """The network itself."""
        return ("",)


Ordered = Width | Heads | SplitHeads
"""Of which the first parts stay, so that these must be the best."""
_Axes = dict[str, dict[tuple[str, int], Axis]]
"""By path of a module, its elastic axes by tensor and dimension."""
Proposal = Ordered | Depth | Kernel | Activations | Resolution


def build(model: nn.Module, proposals: Iterable[Proposal]) -> nn.Module:
    """Return ``model`` with elastic layers, which share its parameters and buffers; it isn't changed.

    What holds no other modules and stays as it is is the same object in both, which makes trying many quick.
    The result holds expressions where active sizes go, so it has to be wrapped before it can run.
    """
    state = [*model.parameters(), *model.buffers()]
    memo: dict[int, object] = {id(tensor): tensor for tensor in state}
    proposals = list(proposals)
    changed = {path for proposal in proposals for path in proposal.paths}
    same = [m for path, m in model.named_modules() if path not in changed and not any(m.children())]
    memo.update((id(module), module) for module in same)
    model = copied(model, dict(memo))
    axes = _axes(model, proposals)
    widths = [one for one in proposals if isinstance(one, Width)]
    for width in widths:
        _follow(model, width, axes)
    known = len(memo)
    memo.update(_cut_attention(model, axes, {p.path: p.choice for p in proposals if isinstance(p, Heads)}))
    for path, cuts in axes.items():
        staying = [name for width in widths for where, name in width.staying if where == path]
        cut_in_place(model.get_submodule(path), cuts, staying)
    for one in proposals:
        if isinstance(one, Activations):
            for path in one.paths:
                given = model.get_submodule(path)
                memo[id(given)] = Activation(given, one.choice)
    for heads in proposals:
        if isinstance(heads, SplitHeads):
            heads.apply(model)
    for depth in proposals:
        if isinstance(depth, Depth):
            for position, (path, alone) in enumerate(zip(depth.row.paths, depth.row.alone, strict=True)):
                block = model.get_submodule(path)
                made = Skippable(copied(block, memo), position, depth.choice, alone=alone)
                memo[id(block)] = made.train(block.training)
    elastic = copied(model, memo) if len(memo) > known else model
    for module in elastic.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            # Torch's fused form would read the whole weights; this keeps it from being used.
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder):
            # With nested tensors it reads the weights of its first layer itself.
            module.use_nested_tensor = False
        if isinstance(module, nn.Transformer):
            # It compares its inputs with this.
            widths = (m.embed_dim for m in module.modules() if isinstance(m, CutAttention))
            module.d_model = next(widths, module.d_model)
    for one in proposals:
        if isinstance(one, Resolution):
            elastic = Resized(elastic, one.choice, largest_value(one.choice)).train(elastic.training)
    return elastic


def _follow(model: nn.Module, width: Width, axes: _Axes) -> None:
    """Let the numbers of ``model`` that follow a width do so, in place."""
    lengths = _lengths(model, width, axes)
    for path, name in width.following:
        state = model.get_submodule(path).__dict__
        given = state[name]
        if isinstance(given, list | tuple | Several):  # of a list another width may have had its part already
            kind, items = (given.kind, given.items) if isinstance(given, Several) else (type(given), given)
            sizes = (lengths.get(item, item) if isinstance(item, int) else item for item in items)
            state[name] = Several(kind, tuple(sizes))
        else:
            state[name] = lengths[largest_value(given)]


def lengths_of(model: nn.Module, group: ChannelGroup) -> set[int]:
    """Return how long the tensors are that hold a group's channels, and the parts of them that do."""
    wholes = (_length(model, s.path, (s.tensor, s.dim)) for s in group.segments)
    parts = (group.size * s.repeat for s in group.segments)
    return {length for length in (*wholes, *parts, group.size) if length is not None and length > 1}


def _lengths(model: nn.Module, width: Width, axes: _Axes) -> dict[int, Size]:
    """Return what the lengths of :func:`lengths_of` become."""
    group, found = width.group, dict[int, Size]()
    for segment in group.segments:
        place = (segment.tensor, segment.dim)
        whole = _length(model, segment.path, place)
        if whole is not None:
            found[whole] = total(axes[segment.path][place])
    for segment in group.segments:
        found[group.size * segment.repeat] = _positions(width, segment.repeat)
    found[group.size] = _positions(width, 1)
    return found


def _cut_attention(model: nn.Module, axes: _Axes, heads: Mapping[str, Size]) -> dict[int, nn.Module]:
    """Return elastic forms of torch's attention, by the id of each; their axes are taken from ``axes``."""
    made: dict[int, nn.Module] = {}
    for path, layer in model.named_modules():
        if isinstance(layer, nn.MultiheadAttention):
            output = axes.pop(f"{path}.out_proj" if path else "out_proj", {})
            own = axes.pop(path, {}) | {
                (f"out_proj.{name}", dim): axis for (name, dim), axis in output.items()
            }
            if own or path in heads:
                made[id(layer)] = CutAttention.of(layer, heads.get(path, layer.num_heads), own)
    return made


def _axes(model: nn.Module, proposals: Iterable[Proposal]) -> _Axes:
    """Return the elastic axes of every module that has any, by path."""
    parts: dict[str, dict[tuple[str, int], list[tuple[Segment, Width | SplitHeads]]]] = {}
    for proposal in proposals:
        if isinstance(proposal, Width | SplitHeads):
            for segment in proposal.group.segments:
                found = parts.setdefault(segment.path, {}).setdefault((segment.tensor, segment.dim), [])
                found.append((segment, proposal))
    axes = {
        path: {place: _axis(found, _length(model, path, place)) for place, found in places.items()}
        for path, places in parts.items()
    }
    for proposal in proposals:
        if isinstance(proposal, Kernel):
            layer = model.get_submodule(proposal.path)
            assert isinstance(layer, nn.modules.conv._ConvNd)
            axes.setdefault(proposal.path, {}).update(kernel_axes(layer, proposal.choice))
    return axes


def _length(model: nn.Module, path: str, place: tuple[str, int]) -> int | None:
    """Return how many positions a tensor's dimension has; None for a norm without tensors."""
    module = model.get_submodule(path)
    tensor = {**module._parameters, **module._buffers}.get(place[0])
    return None if tensor is None else tensor.shape[place[1]]


def _axis(found: list[tuple[Segment, Width | SplitHeads]], length: int | None) -> Axis:
    """Return elastic parts, with fixed ones in the gaps."""
    axis: list[Part] = []
    begin = 0
    for segment, width in sorted(found, key=lambda pair: pair[0].start):
        if segment.start > begin:
            axis.append(Part(begin, segment.start - begin))
        axis.append(Part(segment.start, _positions(width, segment.repeat)))
        begin = segment.start + width.size * segment.repeat
    if length is not None and begin < length:
        axis.append(Part(begin, length - begin))
    return tuple(axis)


def _positions(width: Width | SplitHeads, repeat: int) -> Size:
    """Return how many positions the active channels take where each unit of them takes ``repeat``."""
    unit = width.group.unit if isinstance(width, Width) else 1
    if repeat == unit:
        return width.choice
    return (width.choice if unit == 1 else width.choice // unit) * repeat
