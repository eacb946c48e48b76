from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from nas.tasks import Classification
from nas.training import Recipe, distillation_step

CLASSES = Classification(10)


def test_labels_and_teacher_count_alike_and_the_teacher_is_left_alone() -> None:
    torch.manual_seed(0)
    student, teacher = nn.Linear(4, 3), nn.Linear(4, 3).eval()
    images, labels = torch.randn(8, 4), torch.arange(8) % 3
    before = teacher.weight.detach().clone()
    (loss,) = distillation_step(student, teacher, CLASSES, Recipe(epochs=1, label_smoothing=0.0))(
        images, labels, torch.Generator()
    )
    loss.backward()
    logits = student(images)
    by_labels = F.cross_entropy(logits, labels)
    by_teacher = F.cross_entropy(logits, teacher(images).softmax(1))
    assert torch.isclose(loss, (by_labels + by_teacher) / 2)
    assert student.weight.grad is not None
    assert teacher.weight.grad is None
    assert torch.equal(teacher.weight, before)
