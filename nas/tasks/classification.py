"""Classification: one class for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor
from torch.nn import functional as F

from nas.tasks.classes import ItemClasses, OneClassEach


@final
@dataclass(frozen=True)
class Classification(ItemClasses, OneClassEach):
    """One class for each item: outputs are ``(n, num_classes)`` logits, targets ``(n,)`` int64.

    Args:
        num_classes: Targets are smaller than this.
        class_names: By target; empty where they have none.

    Raises:
        DataError: there are fewer than two classes, or another number of names.
    """

    @property
    def reading(self) -> str:
        """How outputs read."""
        return "a logit for each class"

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def confusion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how many items of the class of a row are taken for that of a column."""
        classes = range(self.num_classes)
        return torch.from_numpy(confusion_matrix(targets, outputs.argmax(dim=1), labels=list(classes)))

    def targets_fault(self, targets: Tensor) -> str | None:
        """Return what is wrong with targets."""
        if targets.dtype != torch.int64 or targets.ndim != 1:
            return (
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: torch.int64 of shape (n,), the class of "
                "each item, is expected"
            )
        first, last = int(targets.min()), int(targets.max())
        if first < 0 or last >= self.num_classes:
            return f"targets go from {first} to {last}: a class from 0 to {self.num_classes - 1} is expected"
        return None
