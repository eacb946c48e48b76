"""CES-KD: several teachers, of which each item has one, by how difficult it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from nas.inputs import Inputs, call_network, take_items
from nas.task import Task
from nas.training.distillation.protocol import Lesson, check_softening
from nas.training.mixing import imitate
from nas.training.recipe import Recipe
from nas.training.steps import Losses, check_alike, prepare_batch


@final
@dataclass(frozen=True)
class CurriculumDistillation:
    """Each item is taught by one of several teachers: easy ones by small, difficult ones by large (Amara 2022).

    The family of a supernet's subnets gives the teachers for nothing, and each item goes through one of them alone, so
    that a step costs less than with the largest teacher.

    A *variant*: the paper's measure of difficulty and its bins are not public to us. Here an item is as difficult as
    the student's own loss on it, and each teacher gets as many items of a batch.

    Args:
        temperature: Divides both networks' outputs before they are compared.
        weight: The teachers' share of the loss; the targets have the rest.

    Raises:
        StudyError: a number is out of range.
    """

    temperature: float = 1.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_softening(self, self.temperature, self.weight)

    def lesson(self, student: nn.Module, teachers: Sequence[nn.Module], task: Task, recipe: Recipe) -> Lesson:
        """Return the student and its step."""

        def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
            batch = prepare_batch(inputs, targets, recipe, generator)
            outputs = call_network(student, batch.inputs)
            with torch.no_grad():
                experts = experts_by_difficulty(batch.item_losses(task, outputs), len(teachers))
            by_targets = batch.loss(task, outputs, recipe.label_smoothing)
            by_teachers = imitation_of_experts(
                task, outputs, batch.inputs, teachers, experts, self.temperature
            )
            yield (1 - self.weight) * by_targets + self.weight * by_teachers

        return Lesson(student, step)


def experts_by_difficulty(difficulties: Tensor, count: int) -> Tensor:
    """Return ``(n,)`` numbers of teachers: the easiest items have 0, the most difficult ones ``count - 1``."""
    ranks = difficulties.argsort(stable=True).argsort()
    return ranks * count // len(ranks)


def imitation_of_experts(
    task: Task,
    outputs: Tensor,
    inputs: Inputs,
    teachers: Sequence[nn.Module],
    experts: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Return a student's loss against one teacher for each item, a mean over the items.

    Args:
        task: What all are for.
        outputs: ``(n, *)`` of the student.
        inputs: ``(n, *)``.
        teachers: In evaluation mode.
        experts: ``(n,)``, the number of each item's teacher.
        temperature: Temperature of what is compared.
    """
    losses = []
    for number, teacher in enumerate(teachers):
        rows = (experts == number).nonzero().flatten()
        if len(rows) == 0:
            continue
        with torch.no_grad():
            taught = call_network(teacher, take_items(inputs, rows))
        own = outputs[rows]
        check_alike(own, taught)
        losses.append(imitate(task, own / temperature, taught / temperature) * (len(rows) / len(experts)))
    return torch.stack(losses).sum() * temperature**2
