"""What a network learns from a batch: from the targets, or from a teacher too."""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn

from nas.inputs import Inputs, call_network
from nas.task import Task
from nas.training.recipe import Recipe

Losses = Generator[Tensor, None, None]
Step = Callable[[Inputs, Tensor, torch.Generator], Losses]
"""Yields the losses of a batch ``(inputs, targets, generator)``, each the mean over its items.

The loop takes the gradients of one before it asks for the next, so that only one graph is in memory at a
time; gradients add up. The first loss is the one that is reported. Whatever is random must come from the
generator or from torch's global one.
"""


def supervised_step(model: nn.Module, task: Task, recipe: Recipe) -> Step:
    """Return the step of ordinary training."""

    def step(inputs: Inputs, targets: Tensor, _generator: torch.Generator) -> Losses:
        yield task.loss(call_network(model, inputs), targets, recipe.label_smoothing)

    return step


def distillation_step(student: nn.Module, teacher: nn.Module, task: Task, recipe: Recipe) -> Step:
    """Return a step that learns from the targets and from a teacher in equal parts (Hinton 2015).

    Args:
        student: What is trained.
        teacher: In evaluation mode; not changed.
        task: What both are for.
        recipe: For the label smoothing.
    """
    loss = distillation_loss(task, recipe)

    def step(inputs: Inputs, targets: Tensor, _generator: torch.Generator) -> Losses:
        with torch.no_grad():
            taught = call_network(teacher, inputs)
        yield loss(call_network(student, inputs), targets, taught)

    return step


def distillation_loss(task: Task, recipe: Recipe) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the loss of a student's outputs, given targets and a teacher's outputs, all of one batch."""

    def loss(outputs: Tensor, targets: Tensor, taught: Tensor) -> Tensor:
        return (task.loss(outputs, targets, recipe.label_smoothing) + task.imitation(outputs, taught)) / 2

    return loss
