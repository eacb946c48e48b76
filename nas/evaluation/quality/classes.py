"""Qualities of classification: items that are right, by class or altogether; how far probabilities can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nas.errors import ObjectiveError
from nas.evaluation.quality.ratios import mean_of_known, ratio_of_known
from nas.objective import Objective
from nas.space import FloatArray

_BINS = 15
"""Bins of the expected calibration error, as in Guo 2017."""


@final
@dataclass(frozen=True)
class Accuracy:
    """Share of the items that are classified right, in [0, 1]."""

    objective: Objective = Objective("accuracy", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 1)``: 1 where ``(n, classes)`` logits are largest at ``(n,)`` targets."""
        return (outputs.argmax(dim=1) == targets).double().unsqueeze(1)

    def value(self, statistics: FloatArray) -> float:
        """Return the mean."""
        return float(torch.from_numpy(statistics).mean())


@final
@dataclass(frozen=True)
class TopK:
    """Share of the items whose class is among the ``k`` largest logits, in [0, 1].

    Args:
        k: Number of the largest logits.

    Raises:
        ObjectiveError: it is less than 1.
    """

    k: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise ObjectiveError(f"TopK has k={self.k!r}: an integer from 1 on is expected.")

    @property
    def objective(self) -> Objective:
        """Named after ``k``."""
        return Objective(f"top{self.k}_accuracy", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 1)``: 1 where an item is right."""
        highest = outputs.topk(min(self.k, outputs.shape[1]), dim=1).indices
        return (highest == targets.unsqueeze(1)).any(dim=1, keepdim=True).double()

    def value(self, statistics: FloatArray) -> float:
        """Return the mean."""
        return float(torch.from_numpy(statistics).mean())


@final
@dataclass(frozen=True)
class BalancedAccuracy:
    """Mean over the classes of the share of their items that are classified right, in [0, 1].

    Classes that no item has are left out.
    """

    objective: Objective = Objective("balanced_accuracy", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 3 * classes)``: by class, true positives, false positives and false negatives."""
        return _count_by_class(outputs, targets)

    def value(self, statistics: FloatArray) -> float:
        """Return the mean recall."""
        return mean_of_known(self.details(statistics))

    def details(self, statistics: FloatArray) -> FloatArray:
        """Return the recall of each class; NaN for classes that no item has."""
        right, _, missed = np.split(statistics.sum(axis=0), 3)
        return ratio_of_known(right, right + missed)


@final
@dataclass(frozen=True)
class F1:
    """Mean over the classes of the harmonic mean of precision and recall, in [0, 1] (macro F1).

    Of one class for each item, or of any number of labels. Classes that are neither there nor predicted are left out.
    """

    objective: Objective = Objective("f1", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 3 * classes)``: by class, true positives, false positives and false negatives."""
        return _count_by_class(outputs, targets)

    def value(self, statistics: FloatArray) -> float:
        """Return the mean."""
        return mean_of_known(self.details(statistics))

    def details(self, statistics: FloatArray) -> FloatArray:
        """Return the F1 of each class; NaN for classes that are neither there nor predicted."""
        right, wrong, missed = np.split(statistics.sum(axis=0), 3)
        return ratio_of_known(2 * right, 2 * right + wrong + missed)


@final
@dataclass(frozen=True)
class CalibrationError:
    """How far the probability of the answers is from the share of them that are right (Guo 2017, equation 3).

    Expected calibration error over 15 bins of equal width, in [0, 1].
    """

    objective: Objective = Objective("calibration_error", "", "minimize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 2)``: the probability of the answer, and whether it is right."""
        confidence, answer = outputs.double().softmax(dim=1).max(dim=1)
        return torch.stack([confidence, (answer == targets).double()], dim=1)

    def value(self, statistics: FloatArray) -> float:
        """Return the error."""
        confidence, right = statistics.T
        bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
        gaps = np.bincount(bins, right - confidence, _BINS)
        return float(np.abs(gaps).sum() / len(statistics))


def _count_by_class(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return ``(n, 3 * classes)`` of ``(n, classes)`` logits and ``(n,)`` classes or ``(n, classes)`` labels."""
    if targets.ndim == 1:
        predicted = F.one_hot(outputs.argmax(dim=1), outputs.shape[1])
        wanted = F.one_hot(targets, outputs.shape[1])
    else:
        predicted, wanted = (outputs > 0).long(), targets.long()
    return torch.cat([predicted & wanted, predicted & ~wanted & 1, ~predicted & 1 & wanted], dim=1).double()
