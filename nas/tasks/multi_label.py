"""Multi-label classification: any number of labels for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.tasks.classes import ItemClasses, class_divergences, class_entropies


@final
@dataclass(frozen=True)
class MultiLabel(ItemClasses):
    """Any number of labels for each item: outputs are ``(n, num_classes)`` logits, targets the same shape of 0 and 1.

    Args:
        num_classes: How many labels there are.
        class_names: By position; empty where they have none.

    Raises:
        DataError: there are fewer than two labels, or another number of names.
    """

    @property
    def reading(self) -> str:
        """How outputs read."""
        return "a logit for each label, which is there where it is positive"

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the binary cross-entropy, a mean over the labels."""
        smoothed = targets.to(outputs.dtype) * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, smoothed)

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the binary cross-entropy with a teacher's probabilities."""
        return F.binary_cross_entropy_with_logits(outputs, teacher.sigmoid())

    def entropies(self, outputs: Tensor) -> Tensor:
        """Return the entropy of each item, a mean over the labels."""
        return class_entropies(_two_classes(outputs))

    def divergences(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return the divergence of each item, a mean over the labels."""
        return class_divergences(_two_classes(outputs), _two_classes(others))

    def targets_fault(self, targets: Tensor) -> str | None:
        """Return what is wrong with targets."""
        if targets.ndim != 2 or targets.shape[1] != self.num_classes or targets.dtype == torch.bool:
            return (
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: numbers of shape "
                f"(n, {self.num_classes}), 0 or 1 for each label, are expected"
            )
        if not ((targets == 0) | (targets == 1)).all():
            return "targets hold other numbers: 0 or 1 for each label is expected"
        return None


def _two_classes(outputs: Tensor) -> Tensor:
    """Return ``(n, 2, labels)`` logits: that a label is there, and that it isn't."""
    return torch.stack([outputs, torch.zeros_like(outputs)], dim=1)
