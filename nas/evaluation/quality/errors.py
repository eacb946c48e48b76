"""Qualities of regression: errors, in the unit of the targets."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from nas.objective import Objective
from nas.space import FloatArray


@dataclass(frozen=True)
class _MeanError(ABC):
    unit: str = ""

    name: ClassVar[str]

    @property
    def objective(self) -> Objective:
        """Name and unit of the error, which is minimised."""
        return Objective(self.name, self.unit, "minimize")


@final
@dataclass(frozen=True)
class RootMeanSquaredError(_MeanError):
    """Square root of the mean squared error over all values of all items.

    Args:
        unit: Unit of the targets.
    """

    name: ClassVar[str] = "rmse"

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 1)``: the mean squared error of each item."""
        return _mean_over_values((outputs.double() - targets).square())

    def value(self, statistics: FloatArray) -> float:
        """Return the root of the mean."""
        return math.sqrt(float(statistics.mean()))


@final
@dataclass(frozen=True)
class MeanAbsoluteError(_MeanError):
    """Mean absolute error over all values of all items.

    Args:
        unit: Unit of the targets.
    """

    name: ClassVar[str] = "mae"

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 1)``: the mean absolute error of each item."""
        return _mean_over_values((outputs.double() - targets).abs())

    def value(self, statistics: FloatArray) -> float:
        """Return the mean."""
        return float(statistics.mean())


def _mean_over_values(errors: Tensor) -> Tensor:
    """Return ``(n, 1)`` means of ``(n, *)`` errors."""
    return errors.flatten(1).mean(dim=1, keepdim=True)
