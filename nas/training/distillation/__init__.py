"""Distillation: how a student learns from teachers. Each file is one method; a user's own is one more, anywhere."""

from nas.training.distillation.balanced import BalancedDistillation
from nas.training.distillation.curriculum import CurriculumDistillation
from nas.training.distillation.hinton import Hinton
from nas.training.distillation.protocol import Distillation, Lesson

__all__ = [
    "BalancedDistillation",
    "CurriculumDistillation",
    "Distillation",
    "Hinton",
    "Lesson",
]
