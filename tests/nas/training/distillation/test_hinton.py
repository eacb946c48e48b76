from __future__ import annotations

import torch
from lessons import CLASSES, RECIPE, items, linears, losses_of
from torch.nn import functional as F

from nas.training import (
    Hinton,
    distillation_step,
)


def test_hinton_is_the_plain_step_by_default() -> None:
    student, small, large = linears(3)
    (loss,) = losses_of(Hinton(), student, [small, large])
    (plain,) = distillation_step(student, large, CLASSES, RECIPE)(*items(), torch.Generator())
    images, labels = items()
    outputs = student(images)
    halves = (
        F.cross_entropy(outputs, labels) + F.cross_entropy(outputs, large(images).softmax(1).detach())
    ) / 2
    assert torch.equal(loss, plain)
    assert torch.equal(loss, halves)  # bit for bit
    assert torch.equal(
        *(torch.autograd.grad(value, student.weight, retain_graph=True)[0] for value in (loss, halves))
    )


def test_a_temperature_softens_both_and_its_square_makes_up_for_it() -> None:
    student, teacher = linears(2)
    (loss,) = losses_of(Hinton(temperature=4.0, weight=0.9), student, [teacher])
    images, labels = items()
    outputs, taught = student(images), teacher(images)
    soft = F.cross_entropy(outputs / 4, (taught / 4).softmax(1)) * 16
    assert torch.allclose(loss, 0.1 * F.cross_entropy(outputs, labels) + 0.9 * soft)
