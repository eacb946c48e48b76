"""Distillation from one teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import nn

from nas.task import Task
from nas.training.distillation.protocol import Lesson, check_softening
from nas.training.recipe import Recipe
from nas.training.steps import distillation_step


@final
@dataclass(frozen=True)
class Hinton:
    """Learns from the targets and from the largest teacher's softened outputs (Hinton 2015).

    Args:
        temperature: Divides both networks' outputs before they are compared: above 1, answers that are nearly
            impossible teach too. Changes nothing where outputs are compared by squared differences, as in regression.
        weight: The teacher's share of the loss; the targets have the rest.

    Raises:
        StudyError: a number is out of range.
    """

    temperature: float = 1.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_softening(self, self.temperature, self.weight)

    def lesson(self, student: nn.Module, teachers: Sequence[nn.Module], task: Task, recipe: Recipe) -> Lesson:
        """Return the student and its step."""
        step = distillation_step(
            student, teachers[-1], task, recipe, temperature=self.temperature, weight=self.weight
        )
        return Lesson(student, step)
