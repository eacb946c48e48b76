"""Couplings between positions of tensors: each is a node, nodes are tied, and a tensor's layout consists of nodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nas.space import IntArray

_MOST_NODES = 2**20
"""Most nodes of one block: beyond this, following costs more than an elastic width is worth."""
REARRANGED = "they are rearranged too often to be followed"
FOREIGN = "they are the network's input, or meet something that no layer makes"


@final
@dataclass(frozen=True)
class ChannelBlock:
    """Dimensions of a tensor along which channels, or parts of channels, lie.

    Args:
        dims: In increasing order. Several where channels were split, as into heads, and not joined again.
        nodes: One per position, one axis per dimension.
    """

    dims: tuple[int, ...]
    nodes: IntArray

    def move(self, to: Mapping[int, int]) -> ChannelBlock:
        """Return the block after its dimensions were renamed; their order may change."""
        dims = [to[dim] for dim in self.dims]
        order = np.argsort(dims)
        return ChannelBlock(tuple(sorted(dims)), self.nodes.transpose(order))


Layout = tuple[ChannelBlock, ...]
"""The blocks of a tensor: no two share a dimension; dimensions in no block aren't made of channels."""


@final
@dataclass(frozen=True)
class Operand:
    """An argument of an operation.

    Args:
        layout: Its layout, with the numbers of the result's dimensions.
        sizes: Sizes of all its dimensions, by these numbers.
        constant: Whether it depends on no input or weight, such as zeros: then its size follows the others'.
    """

    layout: Layout
    sizes: Mapping[int, int]
    constant: bool = False


class Ties:
    """Nodes, which of them are tied, and which must stay fixed, with the reasons."""

    def __init__(self) -> None:
        self._count = 0
        self._pairs: list[tuple[IntArray, IntArray]] = []
        self._fixed: list[tuple[IntArray, str]] = []
        self._loose: set[int] = set()

    def new(self, size: int, *, loose: bool = False) -> IntArray:
        """Return nodes that are tied to nothing.

        Loose nodes, of tables without learned weights, never couple channels with each other. An example are
        frequencies that are the same for all heads.
        """
        self._count += size
        if loose:
            self._loose.update(range(self._count - size, self._count))
        return np.arange(self._count - size, self._count)

    def tie(self, ones: IntArray, others: IntArray) -> None:
        """Tie nodes of equal shape to each other, position by position."""
        assert ones.shape == others.shape, (ones.shape, others.shape)
        self._pairs.append((ones.ravel(), others.ravel()))

    def tie_along(self, nodes: IntArray, axes: Iterable[int]) -> IntArray:
        """Tie nodes that differ only in their position along some axes; return one of each tied set."""
        for axis in sorted(axes, reverse=True):
            first = nodes.take([0], axis)
            self.tie(np.broadcast_to(first, nodes.shape), nodes)
            nodes = first.squeeze(axis)
        return nodes

    def fix(self, nodes: IntArray, reason: str) -> None:
        """Note that nodes must stay fixed."""
        self._fixed.append((nodes.ravel(), reason))

    def fix_all(self, layout: Iterable[ChannelBlock], reason: str) -> None:
        """Note that all nodes of a layout must stay fixed."""
        for block in layout:
            self.fix(block.nodes, reason)

    def classes(self) -> tuple[IntArray, dict[int, str]]:
        """Return the class of tied nodes of every node, and the first reason why a class must stay fixed."""
        ones, others = (
            np.concatenate([np.empty(0, np.int64), *(pair[side] for pair in self._pairs)]) for side in (0, 1)
        )
        # All pairs at once, because there may be millions of nodes.
        links = coo_array((np.ones(len(ones), np.int8), (ones, others)), shape=(self._count, self._count))
        labels: IntArray = connected_components(links, directed=False)[1]
        reasons: dict[int, str] = {}
        for nodes, reason in self._fixed:
            for label in np.unique(labels[nodes]).tolist():
                reasons.setdefault(label, reason)
        return labels, reasons

    # What follows are the ways in which operations treat layouts.

    def along(self, layout: Layout, dim: int) -> IntArray | None:
        """Return the nodes of one dimension, tied over the others of its block; None where it has none."""
        for block in layout:
            if dim in block.dims:
                return self.tie_along(
                    block.nodes, (axis for axis, other in enumerate(block.dims) if other != dim)
                )
        return None

    def combine(self, operands: Sequence[Operand]) -> Layout:
        """Return the layout of what is computed from operands position by position, with broadcasting."""
        known: list[ChannelBlock] = []
        for operand in operands:
            for block in operand.layout:
                if any(_foreign(block, other) for other in operands):
                    self.fix(block.nodes, FOREIGN)
                else:
                    known = self._join_blocks(known, block)
        return tuple(known)

    def _join_blocks(self, known: list[ChannelBlock], block: ChannelBlock) -> list[ChannelBlock]:
        """Add a block to others, one with those that it overlaps."""
        apart = []
        for other in known:
            if set(other.dims).isdisjoint(block.dims):
                apart.append(other)
                continue
            fewer, more = sorted((block, other), key=lambda b: len(b.dims))
            # A table that nothing learns, equal for all heads, must not tie the heads to each other.
            if set(fewer.dims) < set(more.dims) and int(fewer.nodes.flat[0]) in self._loose:
                block = more
                continue
            dims = tuple(sorted({*other.dims, *block.dims}))
            shape = tuple(_size(dim, block, other) for dim in dims)
            ones, others = (spread(b, dims, shape) for b in (block, other))
            self.tie(ones, others)
            shared = tuple(dim for dim in dims if dim in block.dims and dim in other.dims)
            index = tuple(slice(None) if dim in shared else 0 for dim in dims)
            block = ChannelBlock(shared, ones[index])
        return [*apart, block]

    def reduce(self, layout: Layout, dims: Iterable[int]) -> Layout:
        """Return a layout without the dimensions that were summed over; their numbers are not used again."""
        gone, kept = set(dims), []
        for block in layout:
            axes = [axis for axis, dim in enumerate(block.dims) if dim in gone]
            if len(axes) < len(block.dims):
                left = tuple(dim for dim in block.dims if dim not in gone)
                kept.append(ChannelBlock(left, self.tie_along(block.nodes, axes)))
        return tuple(kept)

    def view(self, layout: Layout, shape: Sequence[int], new: Sequence[int]) -> Layout:
        """Return the layout of a tensor of ``shape`` after it was reshaped to ``new``."""
        if not layout or 0 in shape:
            return ()
        runs = _runs(shape, new)
        kept: list[ChannelBlock] = []
        for block in layout:
            touched = [(old, after) for old, after in runs if not set(old).isdisjoint(block.dims)]
            inside = [dim for old, _ in touched for dim in old]
            count = math.prod(shape[dim] for dim in inside)
            # Where a run holds channels of two kinds, neither can be cut without the other.
            met = any(other is not block and not set(other.dims).isdisjoint(inside) for other in layout)
            if met or count > _MOST_NODES:
                self.fix(block.nodes, REARRANGED)
            else:
                nodes = spread(block, tuple(inside), tuple(shape[dim] for dim in inside))
                dims = [dim for _, after in touched for dim in after]
                made = simplest(dims, nodes.reshape([new[dim] for dim in dims]))
                kept += [made] if made.dims else []
        return tuple(kept)

    def permute(self, layout: Layout, order: Sequence[int]) -> Layout:
        """Return the layout of a tensor whose dimension ``i`` is ``order[i]`` of the one before.

        If parts of channels change their order (a shuffle), they are tied over all dimensions but the last.
        """
        to = {before: after for after, before in enumerate(order)}
        made = []
        for block in layout:
            dims = [to[dim] for dim in block.dims]
            if dims != sorted(dims):
                last = block.dims[-1]
                block = ChannelBlock((last,), self.tie_along(block.nodes, range(len(dims) - 1)))
            made.append(block.move(to))
        return tuple(made)

    def take(self, layout: Layout, dim: int, places: slice | IntArray) -> Layout:
        """Return the layout after some positions along one dimension were selected.

        A slice that is one of several equal pieces ties the pieces, because they must stay equally long.
        """
        made = []
        for block in layout:
            if dim in block.dims:
                axis = block.dims.index(dim)
                nodes = np.moveaxis(block.nodes, axis, 0)
                if isinstance(places, slice):
                    self._tie_pieces(nodes, places)
                block = ChannelBlock(block.dims, np.moveaxis(nodes[places], 0, axis))
            if 1 in block.nodes.shape:
                self.fix(block.nodes, "one of them is used by itself")
            else:
                made.append(block)
        return tuple(made)

    def _tie_pieces(self, nodes: IntArray, places: slice) -> None:
        start, stop, step = places.indices(len(nodes))
        length = stop - start
        if step == 1 and 0 < length < len(nodes) and len(nodes) % length == 0 and start % length == 0:
            self.tie_along(nodes.reshape(len(nodes) // length, length, *nodes.shape[1:]), [0])

    def concatenate(self, operands: Sequence[Operand], dim: int) -> Layout:
        """Return the layout of operands that are concatenated along a dimension."""
        holders = [[b for b in operand.layout if dim in b.dims] for operand in operands]
        others = [
            Operand(
                tuple(b for b in o.layout if dim not in b.dims), {**o.sizes, dim: 1}, o.constant or bool(h)
            )
            for o, h in zip(operands, holders, strict=True)
        ]
        if not any(holders):
            return self.combine(others)
        shared = set.intersection(*(set(held[0].dims) for held in holders if held))
        pieces: list[IntArray | int] = []
        for operand, held in zip(operands, holders, strict=True):
            if held:
                axes = [axis for axis, other in enumerate(held[0].dims) if other not in shared]
                pieces.append(self.tie_along(held[0].nodes, axes))
            else:
                pieces.append(operand.sizes[dim])
        dims = tuple(sorted(shared))
        axis = dims.index(dim)
        like = next(piece for piece in pieces if not isinstance(piece, int))
        row = [self._fresh(p, like, axis) if isinstance(p, int) else p for p in pieces]
        for one in row[1:]:
            assert one.ndim == like.ndim
        return (*self.combine(others), ChannelBlock(dims, np.concatenate(row, axis)))

    def _fresh(self, size: int, like: IntArray, axis: int) -> IntArray:
        """Return fixed nodes for a piece that doesn't consist of channels."""
        shape = [size if position == axis else length for position, length in enumerate(like.shape)]
        nodes = self.new(math.prod(shape)).reshape(shape)
        self.fix(nodes, FOREIGN)
        return nodes


def _foreign(block: ChannelBlock, other: Operand) -> bool:
    """Whether an operand has positions along a block's dimensions that are no layer's output."""
    if other.constant:
        return False
    held = {dim for b in other.layout for dim in b.dims}
    return any(other.sizes.get(dim, 1) > 1 and dim not in held for dim in block.dims)


def _size(dim: int, *blocks: ChannelBlock) -> int:
    sizes = (b.nodes.shape[b.dims.index(dim)] for b in blocks if dim in b.dims)
    return int(next(sizes))


def spread(block: ChannelBlock, dims: tuple[int, ...], shape: tuple[int, ...]) -> IntArray:
    """Return a block's nodes repeated over dimensions that it doesn't have."""
    index = tuple(slice(None) if dim in block.dims else None for dim in dims)
    return np.broadcast_to(block.nodes[index], shape)


def simplest(dims: Sequence[int], nodes: IntArray) -> ChannelBlock:
    """Return a block without the dimensions along which its nodes are the same."""
    left = list(dims)
    for dim in list(dims):
        axis = left.index(dim)
        first = nodes.take([0], axis)
        if (first == nodes).all():
            nodes = first.squeeze(axis)
            left.remove(dim)
    return ChannelBlock(tuple(left), nodes)


def _runs(shape: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest runs of dimensions that hold the same numbers before and after."""
    runs: list[tuple[list[int], list[int]]] = []
    old: list[int] = []
    after: list[int] = []
    here = there = 1
    before, behind = list(range(len(shape))), list(range(len(new)))
    while before or behind:
        # A run ends where both sides hold as many numbers; until then the side that holds fewer goes on.
        if here == there and old and after:
            runs.append((old, after))
            old, after, here, there = [], [], 1, 1
        if before and (here <= there or not behind):
            dim = before.pop(0)
            old.append(dim)
            here *= shape[dim]
        else:
            dim = behind.pop(0)
            after.append(dim)
            there *= new[dim]
    return [*runs, (old, after)]
