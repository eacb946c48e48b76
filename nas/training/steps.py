"""What a network learns from a batch: from the targets, or from a teacher too."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import torch
from torch import Tensor, nn

from nas.errors import TrainingError
from nas.inputs import Inputs, call_network
from nas.task import Task
from nas.training.mixing import Batch, imitate
from nas.training.recipe import Recipe

Losses = Generator[Tensor, None, None]
Step = Callable[[Inputs, Tensor, torch.Generator], Losses]
"""Yields the losses of a batch ``(inputs, targets, generator)``, each the mean over its items.

The loop takes the gradients of one before it asks for the next, so that only one graph is in memory at a
time; gradients add up. The first loss is the one that is reported. Whatever is random must come from the
generator or from torch's global one.
"""


def prepare_batch(inputs: Inputs, targets: Tensor, recipe: Recipe, generator: torch.Generator) -> Batch:
    """Return what a step trains on: blends where the recipe mixes. Draws nothing where it doesn't."""
    if recipe.mix is None:
        return Batch(inputs, ((1.0, targets),))
    return recipe.mix.mix(inputs, targets, make_generator(generator))


def make_generator(generator: torch.Generator) -> np.random.Generator:
    """Return a generator of numpy's that depends on the state of torch's alone."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def make_supervised_step(model: nn.Module, task: Task, recipe: Recipe) -> Step:
    """Return the step of ordinary training."""

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepare_batch(inputs, targets, recipe, generator)
        yield batch.loss(task, call_network(model, batch.inputs), recipe.label_smoothing)

    return step


def distillation_step(
    student: nn.Module,
    teacher: nn.Module,
    task: Task,
    recipe: Recipe,
    *,
    temperature: float = 1.0,
    weight: float = 0.5,
) -> Step:
    """Return a step that learns from the targets and from a teacher (Hinton 2015).

    Args:
        student: What is trained.
        teacher: In evaluation mode; not changed.
        task: What both are for.
        recipe: For the label smoothing, and for what is mixed: the teacher sees the same blends.
        temperature: Temperature of both networks' outputs where they are compared.
        weight: The teacher's share of the loss.
    """

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepare_batch(inputs, targets, recipe, generator)
        # Before the student, so that the teacher's activations are freed when the student's graph is made.
        with torch.no_grad():
            taught = call_network(teacher, batch.inputs)
        outputs = call_network(student, batch.inputs)
        yield distillation_loss(task, recipe, batch, outputs, taught, temperature=temperature, weight=weight)

    return step


def distillation_loss(
    task: Task,
    recipe: Recipe,
    batch: Batch,
    outputs: Tensor,
    taught: Tensor,
    *,
    temperature: float = 1.0,
    weight: float = 0.5,
) -> Tensor:
    """Return the loss of a student's outputs, given targets and a teacher's outputs, all of one batch.

    The teacher's part is multiplied by the temperature's square: its gradients shrink by that (Hinton 2015).

    Raises:
        TrainingError: the teacher's outputs have another shape.
    """
    check_alike(outputs, taught)
    by_targets = batch.loss(task, outputs, recipe.label_smoothing)
    by_teacher = imitate(task, outputs / temperature, taught / temperature) * temperature**2
    return (1 - weight) * by_targets + weight * by_teacher


def check_alike(outputs: Tensor, taught: Tensor) -> None:
    """Check that a teacher's outputs can be compared with a student's.

    Raises:
        TrainingError: they have another shape.
    """
    if outputs.shape != taught.shape:
        raise TrainingError(
            f"the teacher gives outputs of shape {tuple(taught.shape)} and the student of {tuple(outputs.shape)}: a "
            "teacher of the same task is expected."
        )
