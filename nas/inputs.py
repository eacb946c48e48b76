"""What a network takes: one tensor or several, with the names that an exported model gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias, cast, final

from nas.errors import DataError
from nas.space import IntArray

if TYPE_CHECKING:  # who only reads what a run left needs no torch
    import torch
    from torch import Tensor, nn

Inputs: TypeAlias = "Tensor | tuple[Tensor, ...]"
"""A batch: one tensor, or several of the same length, which a network takes as its arguments in order."""


@final
@dataclass(frozen=True)
class InputSpec:
    """The form of one item, by input.

    Args:
        names: What the exported model calls its inputs.
        shapes: Without the batch: ``((3, 120, 160),)`` for colour images.
        dtypes: float32, or int64 for ids.

    Raises:
        DataError: there are not as many of each, or none.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.names) == len(self.shapes) == len(self.dtypes):
            raise DataError(
                f"inputs named {self.names} have the shapes {self.shapes} and the types {self.dtypes}: one of each is "
                "expected, and at least one input."
            )

    @classmethod
    def of_one(
        cls, shape: Sequence[int], dtype: torch.dtype | None = None, name: str = "images"
    ) -> InputSpec:
        """Return the form of a single tensor, of float32 unless stated."""
        import torch

        return cls((name,), (tuple(shape),), (dtype or torch.float32,))

    @classmethod
    def of_batch(cls, inputs: Inputs, names: tuple[str, ...]) -> InputSpec:
        """Return the form of the items in a batch.

        Raises:
            DataError: there are more or fewer names than tensors.
        """
        tensors = as_tuple(inputs)
        return cls(names, tuple(tuple(t.shape[1:]) for t in tensors), tuple(t.dtype for t in tensors))

    @property
    def is_image(self) -> bool:
        """Whether one item is a picture: a single ``(channels, height, width)`` of floats."""
        return len(self.shapes) == 1 and len(self.shapes[0]) == 3 and self.dtypes[0].is_floating_point

    @property
    def is_ids(self) -> bool:
        """Whether all inputs are whole numbers, such as the ids of tokens."""
        return not any(dtype.is_floating_point for dtype in self.dtypes)

    @property
    def item(self) -> str:
        """What one item is called, as far as its form tells: ``text``, ``image`` or ``item``."""
        return "text" if self.is_ids else "image" if self.is_image else "item"

    @property
    def num_values(self) -> int:
        """How many numbers one item holds."""
        return sum(prod(shape) for shape in self.shapes)

    def blank(self, count: int, device: torch.device | None = None) -> Inputs:
        """Return ``count`` items without content, to see what a network does with their form.

        Floats are 0. Integers are ids and are 1: every vocabulary has it, and 0 means padding by convention,
        which attention leaves out.
        """
        import torch

        made = [
            torch.full((count, *shape), 0 if dtype.is_floating_point else 1, dtype=dtype, device=device)
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        ]
        return made[0] if len(made) == 1 else tuple(made)

    def describe(self) -> list[dict[str, Any]]:
        """Return it as plain values: name, shape and type of each input."""
        return [
            {"name": name, "shape": list(shape), "dtype": str(dtype).removeprefix("torch.")}
            for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True)
        ]


Form: TypeAlias = "InputSpec | tuple[int, ...]"
"""What a network takes; a single shape stands for one tensor of float32 called ``images``."""


def as_spec(form: Form) -> InputSpec:
    """Return what a network takes."""
    return form if isinstance(form, InputSpec) else InputSpec.of_one(form)


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors of a batch."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def call_network(network: nn.Module, inputs: Inputs) -> Tensor:
    """Return what a network makes of a batch."""
    return cast("Tensor", network(*as_tuple(inputs)))


def count_items(inputs: Inputs) -> int:
    """Return how many items a batch holds."""
    return len(as_tuple(inputs)[0])


def take_items(inputs: Inputs, rows: slice | Tensor | IntArray) -> Inputs:
    """Return some items of a batch."""
    return tuple(tensor[rows] for tensor in inputs) if isinstance(inputs, tuple) else inputs[rows]


def split_items(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """Yield the items of a batch in order, ``size`` at a time."""
    for start in range(0, count_items(inputs), size):
        yield take_items(inputs, slice(start, start + size))


def place_inputs(inputs: Inputs, device: torch.device) -> Inputs:
    """Return a batch on ``device``; images in channels-last order, which convolutions prefer."""
    import torch

    def place(tensor: Tensor) -> Tensor:
        moved = tensor.to(device)
        return moved.contiguous(memory_format=torch.channels_last) if moved.ndim == 4 else moved

    return map_inputs(place, inputs)


def map_inputs(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Return a batch with every tensor changed."""
    return tuple(map(change, inputs)) if isinstance(inputs, tuple) else change(inputs)
