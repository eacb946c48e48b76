"""Regression: numbers for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional as F

from nas.errors import DataError
from nas.inputs import InputSpec
from nas.task import TaskFacts
from nas.tasks.classes import wrong_shape


@final
@dataclass(frozen=True)
class Regression:
    """Numbers for each item: outputs and targets are ``(n, num_values)`` floats.

    Args:
        num_values: How many.
        names: Names of the values; empty where they have none.

    Raises:
        DataError: there are no values, or another number of names.
    """

    num_values: int = 1
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.num_values < 1 or len(self.names) not in (0, self.num_values):
            raise DataError(
                f"Regression has num_values={self.num_values} and names={self.names}: at least one value, and a name "
                "for each or none at all, are expected."
            )

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean squared error; there is nothing to smooth."""
        return F.mse_loss(outputs, targets)

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared difference from a teacher's outputs."""
        return F.mse_loss(outputs, teacher)

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> str | None:
        """Return what is wrong with targets, or with outputs for them."""
        if outputs is not None:
            return wrong_shape(outputs, (len(targets), self.num_values))
        if not targets.is_floating_point() or targets.ndim != 2 or targets.shape[1] != self.num_values:
            return (
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: torch.float32 of shape "
                f"(n, {self.num_values}) is expected"
            )
        return (
            None if targets.isfinite().all() else "targets are NaN or infinite: finite numbers are expected"
        )

    def facts(self, inputs: InputSpec) -> TaskFacts:
        """Return what cards say; regression from images has no word of its own on the Hub."""
        tag = "tabular-regression" if inputs.item == "item" else "other"
        reading = "the value" if self.num_values == 1 else "the values"
        return TaskFacts(tag, inputs.item, (str(self.num_values),), reading, self.names)
