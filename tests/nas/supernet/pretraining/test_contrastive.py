from __future__ import annotations

import math

import pytest
import torch
from pretraining_fakes import some_images
from torch import nn

from nas.data import RandomViews
from nas.supernet.pretraining.contrastive import nt_xent


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_contrast_is_equation_1_of_the_paper(temperature: float) -> None:
    count, vectors = 3, torch.randn(6, 5, dtype=torch.float64)
    cosine = nn.functional.cosine_similarity

    def loss(i: int, j: int) -> float:
        similar = [math.exp(cosine(vectors[i], vectors[k], dim=0).item() / temperature) for k in range(6)]
        return -math.log(similar[j] / sum(similar[k] for k in range(6) if k != i))

    wanted = sum(loss(k, k + count) + loss(k + count, k) for k in range(count)) / (2 * count)
    assert nt_xent(vectors, temperature).item() == pytest.approx(wanted, rel=1e-9)


def test_views_are_of_each_image_by_itself_and_may_be_the_image() -> None:
    images = some_images(2).repeat_interleave(6, 0)
    still = RandomViews(least_area=1.0, mirror=False, jitter=0.0)
    torch.testing.assert_close(still(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))
    views = RandomViews()(images)
    assert views.shape == images.shape
    assert len(torch.unique(views.flatten(1).round(decimals=4), dim=0)) == len(images)
    mirrored = RandomViews(least_area=1.0, jitter=0.0)(some_images(1).repeat(50, 1, 1, 1))
    assert 10 < sum(view.sub(some_images(1)[0]).abs().max() > 0.5 for view in mirrored) < 50
