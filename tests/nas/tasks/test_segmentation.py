from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from nas.task import Illustrated
from nas.tasks import Classification, SemanticSegmentation


@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5)])
def test_positions_that_are_ignored_neither_teach_nor_count(weights: tuple[float, ...]) -> None:
    task = SemanticSegmentation(3, class_weights=weights)
    outputs, targets = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    targets[0, :2] = 255
    expected = F.cross_entropy(outputs, targets, torch.tensor(weights) if weights else None, ignore_index=255)
    assert torch.allclose(task.loss(outputs, targets), expected)
    outputs.requires_grad_()
    task.loss(outputs, targets).backward()
    assert outputs.grad is not None
    assert not outputs.grad[0, :, :2].any()
    nothing = task.loss(outputs, torch.full((2, 4, 4), 255))
    assert nothing.item() == 0
    assert nothing.requires_grad


@pytest.mark.draws
@pytest.mark.parametrize("channels", [1, 3])
def test_segmented_images_and_clouds_are_drawn(channels: int) -> None:
    task = SemanticSegmentation(3, ("sky", "road", "car"))
    assert isinstance(task, Illustrated)
    assert not isinstance(Classification(3), Illustrated)
    outputs, targets = torch.randn(2, 3, 6, 9), torch.randint(0, 3, (2, 6, 9), dtype=torch.uint8)
    targets[0, 0] = 255
    picture = Image.open(io.BytesIO(task.draw_examples(torch.rand(2, channels, 6, 9), targets, outputs)))
    assert picture.width > 300
    assert len(np.unique(np.asarray(picture.convert("L")))) > 5
    cloud = task.draw_examples(torch.rand(2, 50, 4), torch.randint(0, 3, (2, 50)), torch.randn(2, 3, 50))
    assert Image.open(io.BytesIO(cloud)).format == "PNG"
