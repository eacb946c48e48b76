"""An axis of a weight: a row of spans, of each of which the first channels are active."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, final

from nas.choices import Choice, Expression, Option, Size, choices_of, largest_value


@final
@dataclass(frozen=True)
class Span:
    """Consecutive positions of an axis, of which the first ``size`` are active.

    Args:
        start: Position of the first.
        size: How many are active; all of them in the largest architecture.
        centred: Whether those in the middle are active instead, as in kernels.
    """

    start: int
    size: Size
    centred: bool = False

    @property
    def length(self) -> int:
        """How many positions there are."""
        return largest_value(self.size)


Axis = tuple[Span, ...]


@final
@dataclass(frozen=True)
class Several(Expression):
    """Numbers of which some depend on choices, as a list or tuple of them.

    Args:
        kind: ``list`` or ``tuple``.
        items: The numbers.
    """

    kind: type[list[int]] | type[tuple[int, ...]]
    items: tuple[Size, ...]

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Those of all numbers."""
        return choices_of(*self.items)

    def value(self, options: Mapping[str, Option]) -> Any:
        """Return the numbers under ``options``."""
        return self.kind(
            cast(int, item.value(options)) if isinstance(item, Expression) else item for item in self.items
        )


def total(axis: Axis) -> Size:
    """Return how many channels of an axis are active."""
    return functools.reduce(operator.add, (span.size for span in axis))


def copy_containers(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's attributes with containers of its own: hooks of one must not run in another."""
    return {key: copy.copy(value) if isinstance(value, dict | set) else value for key, value in state.items()}
