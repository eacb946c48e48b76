"""Elastic depth of blocks that keep the shape, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, final

from torch import Tensor, nn

from nas.choices import Choice
from nas.space import Condition
from nas.supernet.elastic import at_least


@final
class Skippable(nn.Module):
    """A block of a row, left out where the row is shorter. Its attributes can be read as the block's own.

    Args:
        block: Returns a tensor of its first input's shape.
        position: In the row, from 0.
        times: How many blocks of the row are in use.
        alone: Whether the block is called with one tensor and nothing else.
    """

    def __init__(self, block: nn.Module, position: int, times: int | Choice, *, alone: bool) -> None:
        super().__init__()
        self.block = block
        self.position = position
        self.times = cast(int, times)
        self.alone = alone

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "block" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(super().__getattr__("block"), name)

    def forward(self, inputs: Tensor, *others: Any, **named: Any) -> Tensor:
        """Run the block, or return the first input as it is."""
        if self.times <= self.position:
            return inputs
        output: Tensor = self.block(inputs, *others, **named)
        return output

    def conditional_blocks(self) -> list[tuple[str, nn.Module, tuple[Condition, ...]]]:
        """Return the block with the condition under which it is in use."""
        return [("block", self.block, at_least(self.times, self.position + 1))]

    def extract_blocks(self, copied: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the block itself, or a module that does nothing."""
        if self.times > self.position:
            return copied(self.block)
        return nn.Identity() if self.alone else Skipped()


@final
class Skipped(nn.Module):
    """Returns the first of its inputs, in the place of a block that takes several."""

    def forward(self, inputs: Tensor, *_others: Any, **_named: Any) -> Tensor:
        """Return ``inputs``."""
        return inputs
