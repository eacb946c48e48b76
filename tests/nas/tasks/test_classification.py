from __future__ import annotations

import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from nas.tasks import Classification


def test_classification_is_torchs_cross_entropy_to_the_bit() -> None:
    outputs, targets = torch.randn(8, 5), torch.randint(0, 5, (8,))
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(outputs, targets)
    assert torch.equal(Classification(5).loss(outputs, targets, 0.1), expected)


def test_confusions_are_those_of_torchmetrics() -> None:
    outputs, targets = torch.randn(200, 5), torch.randint(0, 4, (200,))  # nothing is of class 4
    found = Classification(5).confusion(outputs, targets)
    assert torch.equal(found, multiclass_confusion_matrix(outputs, targets, 5))
