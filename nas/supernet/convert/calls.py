"""One operation of torch that ran, and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor
from torch.utils._pytree import tree_leaves

from nas.supernet.convert.labels import Layout, Operand, Ties

Arguments = Mapping[str, Any]


@final
@dataclass(frozen=True)
class Call:
    """One operation that ran.

    Args:
        name: Name without overload and without a trailing underscore.
        arguments: By name, with defaults.
        outputs: The tensors that it returned.
        layouts: Returns the layout of a tensor, None for a constant.
        ties: Collects the ties that the operation causes.
    """

    name: str
    arguments: Arguments
    outputs: Sequence[Tensor]
    layouts: Callable[[Tensor], Layout | None]
    ties: Ties

    def layout(self, tensor: Tensor) -> Layout:
        """Return a tensor's layout, empty for a constant."""
        return self.layouts(tensor) or ()

    def operand(self, tensor: Tensor, to: Sequence[int] | None = None) -> Operand:
        """Return a tensor with its dimension ``i`` called ``to[i]``."""
        names = range(tensor.ndim) if to is None else to
        layout = self.layouts(tensor)
        blocks = tuple(block.move(dict(enumerate(names))) for block in layout or ())
        return Operand(blocks, dict(zip(names, tensor.shape, strict=True)), layout is None)

    def align(self, tensor: Tensor, ndim: int) -> Operand:
        """Return a tensor as it is broadcast to ``ndim`` dimensions."""
        return self.operand(tensor, range(ndim - tensor.ndim, ndim))

    def tensors(self) -> list[Tensor]:
        """Return all tensors among the arguments."""
        return [x for x in tree_leaves(list(self.arguments.values())) if isinstance(x, Tensor)]


Rule = Callable[[Call], list[Layout]]
"""Returns the layout of every output of a call, and ties what it ties."""


def by_name(*rules: tuple[Rule, str]) -> dict[str, Rule]:
    """Return rules by the names of their operations, which are separated by spaces."""
    return {name: rule for rule, names in rules for name in names.split()}


def refuse(call: Call) -> list[Layout]:
    """Note that all channels which an operation takes must stay fixed."""
    for tensor in call.tensors():
        call.ties.fix_all(call.layout(tensor), f"they go through {call.name}, which isn't followed")
    return [() for _ in call.outputs]


def renumber(kept: Sequence[int]) -> dict[int, int]:
    """Return new numbers for the dimensions that are left, by the old ones."""
    return {dim: number for number, dim in enumerate(kept)}
