from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from nas.data.augment import GROUP_SIZE, augment
from nas.errors import StudyError
from nas.splits import Split

SHAKE = v2.RandomAffine(degrees=30, translate=(0.2, 0.2))


@pytest.mark.parametrize("count", [1, GROUP_SIZE, GROUP_SIZE + 1, 30])
def test_the_shape_and_dtype_stay(count: int) -> None:
    images = torch.randn(count, 3, 8, 10)
    changed = augment(images, torch.zeros(len(images)), SHAKE)[0]
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype


def test_the_global_seed_decides() -> None:
    images = torch.randn(20, 1, 8, 8)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(augment(images, torch.zeros(len(images)), SHAKE)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_groups_get_different_draws() -> None:
    images = torch.randn(1, 1, 8, 8).expand(3 * GROUP_SIZE, 1, 8, 8)
    torch.manual_seed(0)
    changed = augment(images, torch.zeros(len(images)), SHAKE)[0]
    assert torch.equal(changed[0], changed[GROUP_SIZE - 1])
    assert not torch.equal(changed[0], changed[GROUP_SIZE])


def test_without_a_transform_nothing_changes() -> None:
    images = torch.randn(3, 1, 8, 8)
    assert augment(images, torch.zeros(len(images)), None)[0] is images


def test_the_given_images_are_not_changed() -> None:
    images = torch.randn(9, 1, 8, 8)
    kept = images.clone()
    augment(images, torch.zeros(len(images)), SHAKE)[0]
    assert torch.equal(images, kept)


def test_bytes_that_are_shifted_and_then_normalised_are_as_if_shifted_after() -> None:
    pixels = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    split = Split(pixels, torch.zeros(20, dtype=torch.int64), (72.9,), (90.0,))
    results = []
    for images, fill in ((pixels, 0), (split.batch(slice(None)), -72.9 / 90.0)):
        torch.manual_seed(0)
        shift = v2.Compose([v2.RandomCrop(8, padding=2, fill=fill), v2.RandomHorizontalFlip()])
        results.append(augment(images, torch.zeros(len(images)), shift)[0])
    assert torch.allclose(split.normalise(results[0]), results[1])


@pytest.mark.parametrize("change", [v2.ToDtype(torch.float32, scale=True), v2.Resize(4)])
def test_another_shape_or_dtype_is_a_sentence(change: v2.Transform) -> None:
    with pytest.raises(StudyError, match="let it keep both"):
        augment(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(3), change)[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda _images: None,
        lambda images: (images, images),
        lambda images: images.numpy(),
        lambda images: images[:-1],
        lambda images: images.long(),
        lambda images: images.to("meta"),
        lambda images: [][1],
        lambda images: sys.exit(),
        lambda: None,
    ],
)
def test_a_transform_that_gives_something_else_or_fails_is_a_sentence(change: Any) -> None:
    with pytest.raises(StudyError, match="the recipe's augment") as caught:
        augment(torch.zeros(3, 1, 8, 8), torch.zeros(3), change)[0]
    assert "\n" not in str(caught.value)


MASKS = torch.randint(0, 5, (20, 8, 8), dtype=torch.uint8)


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(p=0.7),
        v2.Compose([v2.RandomCrop(8, padding=3), v2.RandomVerticalFlip()]),
        v2.RandomAffine(degrees=30, translate=(0.2, 0.2), scale=(0.8, 1.5)),
        v2.RandomResizedCrop(8, antialias=False, interpolation=v2.InterpolationMode.NEAREST),
        v2.RandomAffine(degrees=30, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255}),
        v2.RandomAffine(degrees=30, fill={tv_tensors.Image: 0, tv_tensors.Mask: 1}),
        lambda images, masks: (images.flip(-1), masks.flip(-1)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_masks_move_with_their_images_and_what_is_filled_is_ignored(
    transform: Any, dtype: torch.dtype
) -> None:
    images = (50 * MASKS + 20).unsqueeze(1)
    moved, masks = augment(images, MASKS.to(dtype), transform, ignored=255)
    assert isinstance(moved, torch.Tensor)
    assert type(moved) is type(masks) is torch.Tensor
    assert (moved.dtype, masks.dtype) == (torch.uint8, dtype)
    assert not torch.equal(moved, images)
    expected = torch.where(moved[:, 0] == 0, 255, (moved[:, 0] - 20) // 50)
    assert torch.equal(masks, expected.to(dtype))


def test_colours_change_without_masks() -> None:
    images = (50 * MASKS).unsqueeze(1)
    moved, masks = augment(images, MASKS, v2.RandomInvert(p=1), ignored=255)
    assert torch.equal(moved, 255 - images)
    assert torch.equal(masks, MASKS)


def test_without_an_ignored_value_masks_hold_what_the_transform_fills_in() -> None:
    away = v2.Pad([8, 0, 0, 0], fill={tv_tensors.Image: 0, tv_tensors.Mask: 3})
    _, masks = augment(MASKS.unsqueeze(1), MASKS, v2.Compose([away, v2.Lambda(lambda x: x[..., :8])]))
    assert set(masks.unique().tolist()) == {3}


@pytest.mark.parametrize(
    "transform",
    [lambda images: images, lambda images, _: images, lambda images, masks: (images, masks[:, :, :4])],
)
def test_a_transform_that_leaves_masks_alone_is_a_sentence(transform: Any) -> None:
    with pytest.raises(StudyError, match="the recipe's augment") as caught:
        augment(MASKS.unsqueeze(1), MASKS, transform)
    assert "\n" not in str(caught.value)
