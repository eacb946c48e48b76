from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from nas.data.augment import GROUP_SIZE, augmented

SHAKE = v2.RandomAffine(degrees=30, translate=(0.2, 0.2))


@pytest.mark.parametrize("count", [1, GROUP_SIZE, GROUP_SIZE + 1, 30])
def test_the_shape_and_dtype_stay(count: int) -> None:
    images = torch.randn(count, 3, 8, 10)
    changed = augmented(images, SHAKE)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype


def test_the_global_seed_decides() -> None:
    images = torch.randn(20, 1, 8, 8)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(augmented(images, SHAKE))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_groups_get_different_draws() -> None:
    images = torch.randn(1, 1, 8, 8).expand(3 * GROUP_SIZE, 1, 8, 8)
    torch.manual_seed(0)
    changed = augmented(images, SHAKE)
    assert torch.equal(changed[0], changed[GROUP_SIZE - 1])
    assert not torch.equal(changed[0], changed[GROUP_SIZE])


def test_without_a_transform_nothing_changes() -> None:
    images = torch.randn(3, 1, 8, 8)
    assert augmented(images, None) is images


def test_the_given_images_are_not_changed() -> None:
    images = torch.randn(9, 1, 8, 8)
    kept = images.clone()
    augmented(images, SHAKE)
    assert torch.equal(images, kept)
