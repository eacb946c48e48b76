"""How a student learns from teachers: the role, and what its methods share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from torch import nn

from nas.checks import check_numbers
from nas.errors import StudyError
from nas.task import Task
from nas.training.recipe import Recipe
from nas.training.steps import Step


@final
@dataclass(frozen=True)
class Lesson:
    """What to give to :func:`nas.training.train`.

    Args:
        module: What is trained and what a checkpoint holds: the student, or the student beside networks that learn
            with it.
        step: Step of the training.
    """

    module: nn.Module
    step: Step


@runtime_checkable
class Distillation(Protocol):
    """How a student learns from teachers. ``repr`` goes into digests of what is made: a frozen dataclass."""

    def lesson(self, student: nn.Module, teachers: Sequence[nn.Module], task: Task, recipe: Recipe) -> Lesson:
        """Return what to train, and how.

        Args:
            student: What is trained, in place.
            teachers: From small to large, at least one, in evaluation mode; not changed. Where nobody is better than
                the student, no method helps: train with :func:`nas.training.make_supervised_step`.
            task: What all are for.
            recipe: For the label smoothing and what is mixed.

        Raises:
            StudyError: the method is for other tasks.
        """


def check_softening(settings: object, temperature: float, weight: float) -> None:
    """Check the two settings that all methods have.

    Raises:
        StudyError: one is out of range.
    """
    check_numbers(settings, "temperature", "weight")
    if not (0 < temperature < math.inf and 0 < weight <= 1):
        raise StudyError(
            f"{type(settings).__name__} has temperature={temperature} and weight={weight}: a positive, finite "
            "temperature and a weight in (0, 1] are expected."
        )
