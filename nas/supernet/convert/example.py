"""One call of a network: what its ``forward`` takes, by position and by name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from nas.errors import ConversionError

_HELD = frozenset({"_parameters", "_buffers", "_modules", "training"})
"""Attributes of a module that are what it is made of."""
_EMPTY: dict[Any, Any] = {}
"""What most dictionaries of a module hold: to copy each would take a third of a small network's run."""
_LASTING = (Tensor, nn.Module, int, float, str, NoneType, torch.dtype, torch.device)


@final
@dataclass(frozen=True)
class Example:
    """The arguments of one call.

    Args:
        given: By position.
        named: By keyword.
    """

    given: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, example_input: Any) -> Example:
        """Return the call that a user's example stands for.

        Args:
            example_input: A tensor, a tuple of arguments, or a mapping of keyword arguments.

        Raises:
            ConversionError: no tensor is in it, or a keyword is no string.
        """
        match example_input:
            case tuple():
                example = cls(example_input)
            case Mapping():
                example = cls(named=dict(example_input))
            case _:
                example = cls((example_input,))
        if not example.tensors or not all(isinstance(name, str) for name in example.named):
            raise ConversionError(
                f"the example input is {type(example_input).__name__} and holds no tensor that forward can be called "
                "with: give the tensor that the model's forward takes, a tuple of its arguments, or a dictionary of "
                "its keyword arguments."
            )
        return example

    @property
    def tensors(self) -> list[Tensor]:
        """Tensors among the arguments, also inside of lists and dictionaries."""
        return [leaf for leaf in tree_leaves((self.given, self.named)) if isinstance(leaf, Tensor)]

    def run(self, module: nn.Module) -> Any:
        """Call ``module``, and undo what its submodules have written into their own attributes."""
        states = [(part, _state(part)) for part in module.modules()]
        try:
            return self.call(module)
        finally:
            for part, state in states:
                for name in [name for name in vars(part) if name not in state and name not in _HELD]:
                    del part.__dict__[name]
                for name, (value, held) in state.items():
                    part.__dict__[name] = value
                    if held or (value and held is not None):
                        value.clear()
                        value.update(held)

    def call(self, module: nn.Module) -> Any:
        """Call ``module`` as its user does."""
        fresh = self.fresh()
        return module(*fresh.given, **fresh.named)

    def fresh(self) -> Example:
        """Return the call with copies of objects that a ``forward`` may change, such as caches."""
        given, named = tree_map(
            lambda leaf: leaf if isinstance(leaf, _LASTING) else copy.deepcopy(leaf), (self.given, self.named)
        )
        return Example(given, named)

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> Example:
        """Return the call with every tensor changed."""
        given, named = tree_map(
            lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, (self.given, self.named)
        )
        return Example(given, named)

    def to_double(self) -> Example:
        """Return the call with real numbers in double precision."""
        return self.map_tensors(lambda x: x.double() if x.is_floating_point() else x)

    def twice(self) -> Example:
        """Return the call with every item twice; batch norms in training need two."""
        return self.map_tensors(lambda x: torch.cat([x, x]) if x.ndim else x)


def examples_of(example_input: object) -> list[Example]:
    """Return the calls that a user gave: one, or a list of several.

    Raises:
        ConversionError: as :meth:`Example.of`, or the list is empty.
    """
    given = example_input if isinstance(example_input, list) else [example_input]
    if not given:
        raise ConversionError("the example input is an empty list: give at least one example.")
    return [Example.of(value) for value in given]


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors of a network's output, which may be a list or a dictionary of them."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _state(module: nn.Module) -> dict[str, tuple[Any, dict[Any, Any] | None]]:
    """Return a module's attributes that a ``forward`` may change, including hooks and the contents of dictionaries."""
    return {
        name: (value, (dict(value) if value else _EMPTY) if isinstance(value, dict) else None)
        for name, value in vars(module).items()
        if name not in _HELD
    }
