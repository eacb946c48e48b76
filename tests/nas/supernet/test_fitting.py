from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas import choice
from nas.errors import ShapeError
from nas.supernet import Supernet, elastic
from nas.supernet.fitting import check_shapes
from nas.tasks import SemanticSegmentation

TASK = SemanticSegmentation(3)


def segmenting(classes: int) -> Supernet:
    width = choice("width", 2, 4)
    return Supernet(nn.Sequential(elastic.Conv2d(1, width, 1), elastic.Conv2d(width, classes, 1)))


def test_a_task_of_other_targets_than_were_taken_is_told_to_pass_some() -> None:
    with pytest.raises(
        ShapeError, match=r"targets were taken for one class, .* pass targets= of one item\.$"
    ):
        check_shapes(segmenting(3), (1, 4, 5), TASK)
    check_shapes(segmenting(3), (1, 4, 5), TASK, torch.zeros(1, 4, 5, dtype=torch.int64))


def test_targets_that_were_passed_are_not_blamed() -> None:
    with pytest.raises(ShapeError, match=r"Make the sizes agree for every option\.$"):
        check_shapes(segmenting(2), (1, 4, 5), TASK, torch.zeros(1, 4, 5, dtype=torch.int64))


@pytest.mark.parametrize("targets", [torch.zeros(2, 4, 5), torch.zeros(0, 4, 5)])
def test_targets_of_other_than_one_item_are_refused(targets: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"targets have shape \(\d, 4, 5\): those of one item"):
        check_shapes(segmenting(3), (1, 4, 5), TASK, targets)
