"""Qualities of segmentation: how far predicted and true regions overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from nas.checks import quote
from nas.errors import ObjectiveError
from nas.evaluation.quality.ratios import mean_of_known, ratio_of_known
from nas.objective import Objective
from nas.space import FloatArray


@final
@dataclass(frozen=True)
class MeanIoU:
    """Mean over the classes of intersection over union of all positions of all items, in [0, 1] (Everingham 2010).

    Classes that are neither there nor predicted are left out, and so are positions that are of no class.
    """

    objective: Objective = Objective("mean_iou", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 2 * classes)``: by class, positions in the intersection and in the union."""
        return count_overlap(outputs, targets)

    def value(self, statistics: FloatArray) -> float:
        """Return the mean; NaN where no position counts."""
        return mean_of_known(self.details(statistics))

    def details(self, statistics: FloatArray) -> FloatArray:
        """Return intersection over union by class; NaN for classes that are neither there nor predicted."""
        both, either = np.split(statistics.sum(axis=0), 2)
        return ratio_of_known(both, either)


@final
@dataclass(frozen=True)
class ClassIoU:
    """Intersection over union of one class, in [0, 1]; 0 where it is neither there nor predicted.

    Args:
        number: The class.

    Raises:
        ObjectiveError: it is no number of a class.
    """

    number: int

    def __post_init__(self) -> None:
        if not isinstance(self.number, int) or isinstance(self.number, bool) or self.number < 0:
            raise ObjectiveError(
                f"ClassIoU has number={quote(self.number)}: the number of a class, from 0, is expected."
            )

    @property
    def objective(self) -> Objective:
        """Named after the class."""
        return Objective(f"iou_of_class_{self.number}", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, 2)``: positions in the intersection and in the union.

        Raises:
            ObjectiveError: there is no such class.
        """
        classes = outputs.shape[1]
        if self.number >= classes:
            raise ObjectiveError(
                f"ClassIoU has number={self.number}, and there are {classes} classes: give one from 0 to {classes - 1}."
            )
        return count_overlap(outputs, targets)[:, [self.number, self.number + classes]]

    def value(self, statistics: FloatArray) -> float:
        """Return the share."""
        both, either = statistics.sum(axis=0)
        return float(both / max(either, 1.0))


def count_overlap(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return ``(n, 2 * classes)`` float64: by class, positions in the intersection and in the union.

    By one count of pairs (truth, answer), which takes a tenth of the argmax's time; torchmetrics' ``stat_scores``
    with ``multidim_average="samplewise"`` gives the same numbers in three times the argmax's time.

    Args:
        outputs: ``(n, classes, *positions)`` logits.
        targets: ``(n, *positions)``; what is no class, such as 255, is not counted.
    """
    count, classes = outputs.shape[:2]
    truth, answer = targets.long().flatten(1), outputs.argmax(dim=1).flatten(1)
    item = torch.arange(count).unsqueeze(1)
    pairs = ((item * classes + truth) * classes + answer)[(truth >= 0) & (truth < classes)]
    confusion = torch.bincount(pairs, minlength=count * classes * classes).view(count, classes, classes)
    both = confusion.diagonal(dim1=1, dim2=2)
    either = confusion.sum(dim=1) + confusion.sum(dim=2) - both
    return torch.cat([both, either], dim=1).double()
