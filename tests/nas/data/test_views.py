from __future__ import annotations

import torch
from pretraining_fakes import some_images

from nas.data import RandomViews


def test_views_are_of_each_image_by_itself_and_may_be_the_image() -> None:
    images = some_images(2).repeat_interleave(6, 0)
    still = RandomViews(least_area=1.0, mirror=False, jitter=0.0)
    torch.testing.assert_close(still(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))
    views = RandomViews()(images)
    assert views.shape == images.shape
    assert len(torch.unique(views.flatten(1).round(decimals=4), dim=0)) == len(images)
    mirrored = RandomViews(least_area=1.0, jitter=0.0)(some_images(1).repeat(50, 1, 1, 1))
    assert 10 < sum(view.sub(some_images(1)[0]).abs().max() > 0.5 for view in mirrored) < 50
