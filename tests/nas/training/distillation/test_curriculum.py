from __future__ import annotations

import torch
from lessons import items, linears, losses_of
from torch.nn import functional as F

from nas.training import (
    CurriculumDistillation,
)
from nas.training.distillation.curriculum import experts_by_difficulty


def test_difficult_items_have_large_teachers() -> None:
    difficulty = torch.tensor([0.3, 0.1, 0.9, 0.5, 0.2, 0.4, 0.8])
    assert experts_by_difficulty(difficulty, 3).tolist() == [0, 0, 2, 1, 0, 1, 2]
    assert experts_by_difficulty(difficulty, 1).tolist() == [0] * 7
    assert experts_by_difficulty(difficulty[:2], 3).tolist() == [1, 0]


def test_each_item_learns_from_its_own_teacher() -> None:
    student, *teachers = linears(4)
    (loss,) = losses_of(CurriculumDistillation(temperature=2.0, weight=1.0), student, teachers)
    images, labels = items()
    outputs = student(images)
    ranks = F.cross_entropy(outputs, labels, reduction="none").argsort().argsort()
    taught = torch.stack([teachers[rank // 3](images[row]) for row, rank in enumerate(ranks.tolist())])
    expected = F.cross_entropy(outputs / 2, (taught / 2).softmax(1)) * 4
    assert torch.allclose(loss, expected)
