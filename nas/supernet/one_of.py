"""One of several layers in the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast, final

from torch import nn

from nas.choices import Choice
from nas.errors import SpaceError
from nas.space import Condition


@final
class OneOf(nn.Module):
    """One of several layers, whose own choices matter only while it is the one; extracted as that layer.

    Args:
        kind: Which one, by its name.
        layers: A layer for each option of ``kind``; all take the same inputs.

    Raises:
        SpaceError: an option has no layer, or a layer is no option.
    """

    def __init__(self, kind: Choice, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if set(layers) != set(kind.options):
            raise SpaceError(
                f"choice {kind.name!r} has the options {kind.options} and there are layers for {tuple(layers)}: give "
                "one for each option."
            )
        self.layers = nn.ModuleDict(layers)
        self.kind = cast(str, kind)
        self._choice = kind.name

    def forward(self, *inputs: Any) -> Any:
        """Run the chosen layer."""
        return self.layers[self.kind](*inputs)

    def conditional_blocks(self) -> list[tuple[str, nn.Module, tuple[Condition, ...]]]:
        """Return each layer with its name and the condition under which it is in use."""
        return [
            (f"layers.{name}", layer, (Condition(self._choice, (name,)),))
            for name, layer in self.layers.items()
        ]

    def extract_blocks(self, copied: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the chosen layer."""
        return copied(self.layers[self.kind])
