"""Classification: one class for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor
from torch.nn import functional as F

from nas.inputs import InputSpec
from nas.task import TaskFacts
from nas.tasks.classes import (
    check_classes,
    class_divergences,
    class_entropies,
    name_classification,
    wrong_shape,
)


@final
@dataclass(frozen=True)
class Classification:
    """One class for each item: outputs are ``(n, num_classes)`` logits, targets ``(n,)`` int64.

    Args:
        num_classes: Targets are smaller than this.
        class_names: By target; empty where they have none.

    Raises:
        DataError: there are fewer than two classes, or another number of names.
    """

    num_classes: int
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_classes(self, self.num_classes, self.class_names)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the cross-entropy with a teacher's probabilities (Hinton 2015, at temperature 1)."""
        return F.cross_entropy(outputs, teacher.softmax(dim=1))

    def entropies(self, outputs: Tensor) -> Tensor:
        """Return the entropy of each item."""
        return class_entropies(outputs)

    def divergences(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return the divergence of each item."""
        return class_divergences(outputs, others)

    def confusion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how many items of the class of a row are taken for that of a column."""
        classes = range(self.num_classes)
        return torch.from_numpy(confusion_matrix(targets, outputs.argmax(dim=1), labels=list(classes)))

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> str | None:
        """Return what is wrong with targets, or with outputs for them."""
        if outputs is not None:
            return wrong_shape(outputs, (len(targets), self.num_classes))
        if targets.dtype != torch.int64 or targets.ndim != 1:
            return (
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: torch.int64 of shape (n,), the class of "
                "each item, is expected"
            )
        first, last = int(targets.min()), int(targets.max())
        if first < 0 or last >= self.num_classes:
            return f"targets go from {first} to {last}: a class from 0 to {self.num_classes - 1} is expected"
        return None

    def facts(self, inputs: InputSpec) -> TaskFacts:
        """Return what cards say."""
        reading = "a logit for each class"
        return TaskFacts(
            name_classification(inputs), inputs.item, (str(self.num_classes),), reading, self.class_names
        )
