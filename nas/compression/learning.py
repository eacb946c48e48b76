"""How passes that train teach a network."""

from __future__ import annotations

from torch import nn

from nas.compression.pipeline import Lab
from nas.training import Distillation, Lesson, Recipe, make_supervised_step


def lesson_for(student: nn.Module, lab: Lab, recipe: Recipe, distillation: Distillation) -> Lesson:
    """Return what to train: with the lab's teachers, or with the targets alone where it has none."""
    if lab.teacher is None:
        return Lesson(student, make_supervised_step(student, lab.task, recipe))
    return distillation.lesson(student, (*lab.assistants(), lab.teacher), lab.task, recipe)
