"""Small students, teachers and items, for tests of distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.tasks import Classification
from nas.training import Distillation, Recipe

CLASSES = Classification(3)
RECIPE = Recipe(epochs=1, label_smoothing=0.0)


def linears(count: int) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(4, 3).eval() for _ in range(count)]


def items(count: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 4), torch.arange(count) % 3


def losses_of(method: Distillation, student: nn.Module, teachers: Sequence[nn.Module]) -> list[Tensor]:
    return list(method.lesson(student, teachers, CLASSES, RECIPE).step(*items(), torch.Generator()))
