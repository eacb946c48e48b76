"""The contract of a way to learn from teachers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nas.splits import Split
from nas.tasks import Classification
from nas.testing.small_network import small_network
from nas.training import Distillation, Recipe, train


def check_distillation(distillation: Distillation) -> None:
    """Check that a student learns, that its teachers stay as they are, and that the same comes out twice.

    Raises:
        AssertionError: a promise is broken.
    """
    assert isinstance(distillation, Distillation), f"{distillation!r} has no lesson()"
    assert " at 0x" not in repr(distillation), "repr must tell the settings: make it a frozen dataclass"
    teachers = [small_network(1, width, 3) for width in (4, 8)]
    before = [_weights(teacher) for teacher in teachers]
    first, second = (_teach(distillation, teachers) for _ in range(2))
    assert not _equal(first, _weights(small_network(1, 2, 3))), "the student must learn in place"
    assert _equal(first, second), "what comes out depends on something else than the seed and the arguments"
    for teacher, weights in zip(teachers, before, strict=True):
        assert _equal(_weights(teacher), weights), "a teacher must stay as it is: train a copy"
        assert not teacher.training, "a teacher must stay in evaluation mode"


def _teach(distillation: Distillation, teachers: list[nn.Module]) -> dict[str, Tensor]:
    student, recipe = small_network(1, 2, 3), Recipe(epochs=2, batch_size=6)
    generator = torch.Generator().manual_seed(1)
    data = Split(torch.randn(12, 1, 8, 8, generator=generator), torch.arange(12) % 3)
    lesson = distillation.lesson(student, teachers, Classification(3), recipe)
    train(lesson.module, lesson.step, data, recipe, seed=0, device=torch.device("cpu"))
    return _weights(student)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def _equal(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, others[name]) for name, value in some.items())
