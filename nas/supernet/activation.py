"""Activations whose kind may be a choice."""

from __future__ import annotations

import copy
from typing import cast, final

from torch import Tensor, nn

from nas.choices import Choice

KINDS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
}
"""Torch's activations that can stand for each other: without weights, and unbounded above, unlike those of gates."""


def kind_of(module: nn.Module) -> str | None:
    """Return the name of an activation's kind, or None for other modules."""
    return next((name for name, kind in KINDS.items() if type(module) is kind), None)


@final
class Activation(nn.Module):
    """One of several activations; extracted as torch's own.

    Args:
        given: The activation that the network has, with its settings.
        kind: Which one is in use, by its name in ``KINDS``; the one given has its own name.
    """

    def __init__(self, given: nn.Module, kind: Choice) -> None:
        super().__init__()
        inplace = bool(
            vars(given).get("inplace", False)
        )  # a forward may count on its input being overwritten
        self.options = nn.ModuleDict(
            {
                str(name): given if kind_of(given) == name else _make_activation(str(name), inplace)
                for name in kind.options
            }
        )
        self.kind = cast(str, kind)
        self.train(given.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the active one."""
        output: Tensor = self.options[self.kind](inputs)
        return output

    def extract(self) -> nn.Module:
        """Return the active one."""
        return copy.deepcopy(self.options[self.kind])

    def num_active_params(self) -> int:
        """Return 0: none of them has parameters."""
        return 0

    def macs_per_position(self) -> int:
        """Return 0: elementwise work isn't counted."""
        return 0


def _make_activation(name: str, inplace: bool) -> nn.Module:
    return nn.GELU() if name == "gelu" else KINDS[name](inplace=inplace)
