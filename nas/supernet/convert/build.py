"""Builds a module in which accepted proposals are elastic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from nas.choices import Size, largest_value
from nas.supernet.activation import Activation
from nas.supernet.convert.dependencies import ChannelGroup, Segment
from nas.supernet.convert.proposals import (
    Activations,
    Depth,
    Heads,
    Kernel,
    Proposal,
    Resolution,
    SplitHeads,
    Width,
)
from nas.supernet.copying import copy_module
from nas.supernet.cut import Axis, Several, Span, cut_in_place, kernel_axes, total
from nas.supernet.cut_attention import CutAttention
from nas.supernet.resized import Resized
from nas.supernet.skipping import Skippable

_Axes = dict[str, dict[tuple[str, int], Axis]]
"""The elastic axes of each module, by its path, and by tensor and dimension."""


def build(model: nn.Module, proposals: Iterable[Proposal]) -> nn.Module:
    """Return ``model`` with elastic layers, which share its parameters and buffers; it isn't changed.

    A layer that doesn't change is the same object in both, so that it is quick to try many proposals.
    The result holds expressions in place of active sizes, so it must be wrapped before it can run.
    """
    state = [*model.parameters(), *model.buffers()]
    memo: dict[int, object] = {id(tensor): tensor for tensor in state}
    proposals = list(proposals)
    changed = {path for proposal in proposals for path in proposal.paths}
    same = [m for path, m in model.named_modules() if path not in changed and not any(m.children())]
    memo.update((id(module), module) for module in same)
    model = copy_module(model, dict(memo))
    axes = _axes(model, proposals)
    widths = [one for one in proposals if isinstance(one, Width)]
    for width in widths:
        _follow(model, width, axes)
    # From here on, memo says what stands in the place of a module; the copy at the end puts it wherever that is held.
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
    # Blocks come last, because each is copied with all that stands in it by now.
    for depth in proposals:
        if isinstance(depth, Depth):
            for position, (path, alone) in enumerate(zip(depth.row.paths, depth.row.alone, strict=True)):
                block = model.get_submodule(path)
                made = Skippable(copy_module(block, memo), position, depth.choice, alone=alone)
                memo[id(block)] = made.train(block.training)
    elastic = copy_module(model, memo) if len(memo) > known else model
    for module in elastic.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            # Torch's fused form would read the whole weights; this keeps it from being used.
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder):
            # With nested tensors it reads the weights of its first layer itself.
            module.use_nested_tensor = False
        if isinstance(module, nn.Transformer):
            # It compares its inputs with this.
            embedded = (m.embed_dim for m in module.modules() if isinstance(m, CutAttention))
            module.d_model = next(embedded, module.d_model)
    for one in proposals:
        if isinstance(one, Resolution):
            elastic = Resized(elastic, one.choice, largest_value(one.choice)).train(elastic.training)
    return elastic


def _follow(model: nn.Module, width: Width, axes: _Axes) -> None:
    """Replace the numbers of ``model`` that depend on a width by expressions, in place."""
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
    """Return elastic spans, with fixed ones in the gaps."""
    axis: list[Span] = []
    begin = 0
    for segment, width in sorted(found, key=lambda pair: pair[0].start):
        if segment.start > begin:
            axis.append(Span(begin, segment.start - begin))
        axis.append(Span(segment.start, _positions(width, segment.repeat)))
        begin = segment.start + width.size * segment.repeat
    if length is not None and begin < length:
        axis.append(Span(begin, length - begin))
    return tuple(axis)


def _positions(width: Width | SplitHeads, repeat: int) -> Size:
    """Return how many positions the active channels take where each unit of them takes ``repeat``."""
    unit = width.group.unit if isinstance(width, Width) else 1
    if repeat == unit:
        return width.choice
    return (width.choice if unit == 1 else width.choice // unit) * repeat
