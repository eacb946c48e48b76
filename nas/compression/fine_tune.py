"""Fine-tuning of a winner with a teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.training import Losses, Recipe, Step


def distillation_step(student: nn.Module, teacher: nn.Module, recipe: Recipe) -> Step:
    """Return a step that learns from the labels and from a teacher in equal parts (Hinton 2015).

    Args:
        student: What is trained.
        teacher: In evaluation mode; not changed.
        recipe: For the label smoothing.
    """
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def step(images: Tensor, labels: Tensor, _generator: torch.Generator) -> Losses:
        with torch.no_grad():
            target = teacher(images).softmax(dim=1)
        logits = student(images)
        yield (criterion(logits, labels) + F.cross_entropy(logits, target)) / 2

    return step
