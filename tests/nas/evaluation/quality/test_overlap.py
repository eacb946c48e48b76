from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as metrics
from torch import Tensor

from nas.errors import ObjectiveError
from nas.evaluation import (
    ClassIoU,
    MeanIoU,
)
from nas.evaluation.quality.measuring import (
    measure_statistics,
    statistics_of,
)
from nas.task import Quality

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randn(6, 4, 9, 7, generator=GENERATOR)
MASKS = torch.randint(0, 3, (6, 9, 7), generator=GENERATOR, dtype=torch.uint8)  # nothing is of class 3
MASKS[0, :3] = 255


def value(quality: Quality, outputs: Tensor, targets: Tensor) -> float:
    return measure_statistics(quality, statistics_of(quality, outputs, targets)).value


def test_mean_iou_is_that_of_torchmetrics() -> None:
    by_class = metrics.multiclass_jaccard_index(
        PIXELS, MASKS.long(), 4, average="none", ignore_index=255
    )  # over all positions of all items
    details = MeanIoU().details(statistics_of(MeanIoU(), PIXELS, MASKS))
    assert np.allclose(details, by_class.numpy())
    assert value(MeanIoU(), PIXELS, MASKS) == pytest.approx(float(by_class.mean()))
    for number in range(4):
        assert value(ClassIoU(number), PIXELS, MASKS) == pytest.approx(float(by_class[number]))


@pytest.mark.parametrize("number", [-1, 1.5, True, "road"])
def test_what_numbers_no_class_is_refused(number: Any) -> None:
    with pytest.raises(ObjectiveError, match="the number of a class, from 0, is expected"):
        ClassIoU(number)


def test_a_class_that_the_task_lacks_is_refused() -> None:
    with pytest.raises(ObjectiveError, match="there are 4 classes: give one from 0 to 3"):
        value(ClassIoU(4), PIXELS, MASKS)


def test_a_class_that_is_nowhere_is_left_out() -> None:
    outputs, targets = torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 1]]])
    outputs[0, 0] = 1  # all positions are said to be of class 0
    statistics = statistics_of(MeanIoU(), outputs, targets)
    assert np.array_equal(MeanIoU().details(statistics), [0.5, 0.0, math.nan], equal_nan=True)
    assert MeanIoU().value(statistics) == 0.25
    assert math.isnan(MeanIoU().value(np.zeros((2, 6))))
    assert ClassIoU(2).value(np.zeros((2, 2))) == 0.0
