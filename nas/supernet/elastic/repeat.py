"""Elastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, final

from torch import Tensor, nn

from nas.choices import Choice
from nas.errors import SpaceError
from nas.space import Condition
from nas.training.depth import mark_row


@final
class Repeat(nn.Module):
    """Elastic depth: the first ``times`` of a row of blocks; extracted as ``torch.nn.Sequential``.

    Args:
        block: Makes the block at a position, counted from 0. Choices that it names after the position
            matter only when that block is in use.
        times: How many blocks; 0 is allowed as an option.
    """

    def __init__(self, block: Callable[[int], nn.Module], times: int | Choice) -> None:
        super().__init__()
        counts = times.options if isinstance(times, Choice) else (times,)
        for count in counts:
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise SpaceError(f"Repeat can't run {count!r} times ({times}): use integers of 0 or more.")
        self.times = cast(int, times)
        self.blocks = nn.ModuleList(block(position) for position in range(max(map(int, counts))))

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the active blocks in a row."""
        for block in self.blocks_in_use():
            inputs = block(inputs)
        return inputs

    def blocks_in_use(self) -> list[nn.Module]:
        """Return the active blocks."""
        return [self.blocks[position] for position in range(self.times)]

    def conditional_blocks(self) -> list[tuple[str, nn.Module, tuple[Condition, ...]]]:
        """Return each block with its name and the conditions under which it is in use."""
        return [
            (f"blocks.{position}", block, at_least(self.times, position + 1))
            for position, block in enumerate(self.blocks)
        ]

    def extract_blocks(self, copied: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the active blocks as ``torch.nn.Sequential``."""
        return mark_row(nn.Sequential(*map(copied, self.blocks_in_use())))


def at_least(times: int | Choice, count: int) -> tuple[Condition, ...]:
    """Return the condition that ``times`` is ``count`` or more; none where it always is."""
    if not isinstance(times, Choice):
        return ()
    enough = tuple(option for option in times.options if isinstance(option, int) and option >= count)
    return () if len(enough) == len(times.options) else (Condition(times.name, enough),)
