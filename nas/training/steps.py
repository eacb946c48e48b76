"""What a network learns from a batch: from the labels, or from a teacher too."""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.training.recipe import Recipe

Losses = Generator[Tensor, None, None]
Step = Callable[[Tensor, Tensor, torch.Generator], Losses]
"""Yields the losses of a batch ``(images, labels, generator)``, each the mean over its images.

The loop takes the gradients of one before it asks for the next, so that only one graph is in memory at a
time; gradients add up. The first loss is the one that is reported. Whatever is random must come from the
generator or from torch's global one.
"""


def cross_entropy_step(model: nn.Module, recipe: Recipe) -> Step:
    """Return the step of ordinary training."""
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def step(images: Tensor, labels: Tensor, _generator: torch.Generator) -> Losses:
        yield criterion(model(images), labels)

    return step


def distillation_step(student: nn.Module, teacher: nn.Module, recipe: Recipe) -> Step:
    """Return a step that learns from the labels and from a teacher in equal parts (Hinton 2015).

    Args:
        student: What is trained.
        teacher: In evaluation mode; not changed.
        recipe: For the label smoothing.
    """
    loss = distillation_loss(recipe)

    def step(images: Tensor, labels: Tensor, _generator: torch.Generator) -> Losses:
        with torch.no_grad():
            target = teacher(images).softmax(dim=1)
        yield loss(student(images), labels, target)

    return step


def distillation_loss(recipe: Recipe) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the loss of a student's logits, given labels ``(n,)`` and a teacher's probabilities ``(n, classes)``."""
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def loss(logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        both: Tensor = (criterion(logits, labels) + F.cross_entropy(logits, target)) / 2
        return both

    return loss
