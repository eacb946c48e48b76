"""One network of the list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Example = Tensor | tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class Network:
    """A network with the input that it is converted with.

    Args:
        name: As its library calls it.
        source: The library, or ``own``.
        build: Returns the network with random weights.
        example: Returns the input: a tensor, positional arguments, or named ones.
        others: Return inputs that take other paths through the network; it must be exact there too.
    """

    name: str
    source: str
    build: Callable[[], nn.Module]
    example: Callable[[], Example]
    others: tuple[Callable[[], Example], ...] = ()


def call(module: nn.Module, example: Example) -> Any:
    """Run a module on an example."""
    if isinstance(example, Mapping):
        return module(**example)
    return module(*example) if isinstance(example, tuple) else module(example)
