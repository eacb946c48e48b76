"""Proposals: what may become elastic in a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from nas.choices import Choice
from nas.supernet.attending import Narrowing, attend_in_place
from nas.supernet.convert.blocks import BlockRow
from nas.supernet.convert.dependencies import ChannelGroup
from nas.supernet.convert.importance import order_channels, order_heads


@final
@dataclass(frozen=True)
class Width:
    """Elastic channels.

    Args:
        choice: How many channels.
        group: Where they lie.
        following: Paths of modules and names of their attributes, numbers or lists of them, that depend on the choice.
        staying: The same of numbers that don't, though they equal the length of a tensor there.
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
"""Proposals that keep the first parts, so that these must be the best."""
Proposal = Ordered | Depth | Kernel | Activations | Resolution
