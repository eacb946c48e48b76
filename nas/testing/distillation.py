"""The contract of a way to learn from teachers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from nas.splits import Split
from nas.tasks import Classification
from nas.testing.promises import Contract, Promise, check_repr
from nas.testing.small_network import small_network
from nas.training import Distillation, Recipe, train


@Contract
def check_distillation(distillation: Distillation) -> Sequence[Promise]:
    """Check that a student learns, that its teachers stay as they are, and that the same comes out twice.

    Args:
        distillation: To check.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no distillation.
    """
    assert isinstance(distillation, Distillation), f"{distillation!r} has no lesson()"
    return [
        Promise("repr tells the settings", partial(check_repr, distillation)),
        Promise("the student learns in place", partial(_check_learns, distillation)),
        Promise("the same comes out twice", partial(_check_same_again, distillation)),
        Promise("teachers stay as they are", partial(_check_teachers_stay, distillation)),
    ]


def _check_learns(distillation: Distillation) -> None:
    learned = _teach(distillation, _make_teachers())
    assert not _equal(learned, _weights(small_network(1, 2, 3))), "the student must learn in place"


def _check_same_again(distillation: Distillation) -> None:
    first, second = (_teach(distillation, _make_teachers()) for _ in range(2))
    assert _equal(first, second), "what comes out depends on something else than the seed and the arguments"


def _check_teachers_stay(distillation: Distillation) -> None:
    teachers = _make_teachers()
    before = [_weights(teacher) for teacher in teachers]
    _teach(distillation, teachers)
    for teacher, weights in zip(teachers, before, strict=True):
        assert _equal(_weights(teacher), weights), "a teacher must stay as it is: train a copy"
        assert not teacher.training, "a teacher must stay in evaluation mode"


def _make_teachers() -> list[nn.Module]:
    return [small_network(1, width, 3) for width in (4, 8)]


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
