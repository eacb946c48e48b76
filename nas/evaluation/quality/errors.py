"""Qualities of regression: errors, in the unit of the targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from nas.objective import Objective
from nas.space import FloatArray


@final
@dataclass(frozen=True)
class RootMeanSquaredError:
    """Square root of the mean squared error over all values of all items.

    Args:
        unit: Unit of the targets.
    """

    unit: str = ""

    @property
    def objective(self) -> Objective:
        """Named ``rmse``."""
        return Objective("rmse", self.unit, "minimize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 1)``: the mean squared error of each item."""
        return (outputs.double() - targets).square().flatten(1).mean(dim=1, keepdim=True)

    def value(self, statistics: FloatArray) -> float:
        """Return the root of the mean."""
        return math.sqrt(float(statistics.mean()))


@final
@dataclass(frozen=True)
class MeanAbsoluteError:
    """Mean absolute error over all values of all items.

    Args:
        unit: Unit of the targets.
    """

    unit: str = ""

    @property
    def objective(self) -> Objective:
        """Named ``mae``."""
        return Objective("mae", self.unit, "minimize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 1)``: the mean absolute error of each item."""
        return (outputs.double() - targets).abs().flatten(1).mean(dim=1, keepdim=True)

    def value(self, statistics: FloatArray) -> float:
        """Return the mean."""
        return float(statistics.mean())
