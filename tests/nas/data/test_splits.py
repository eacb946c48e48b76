from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data import Digits, split_images
from nas.data.assembly import statistics
from nas.data.classes import class_shares
from nas.errors import DataError, NasError
from nas.splits import Splits
from nas.testing import check_data_source


def raw(count: int = 200, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Images whose every pixel is their number, so that a part tells which it holds."""
    images = torch.arange(float(count)).reshape(count, 1, 1, 1).expand(count, 2, 3, 3).clone()
    return images, torch.arange(count) % classes


def members(splits: Splits) -> list[set[int]]:
    """Return the numbers of the images of each part."""
    scale, shift = splits.std[0], splits.mean[0]
    parts = (splits.train, splits.search, splits.test)
    return [set((part.inputs[:, 0, 0, 0] * scale + shift).round().int().tolist()) for part in parts]


def test_the_parts_are_disjoint_and_hold_everything() -> None:
    train, search, test = members(split_images("raw", *raw()))
    assert (len(train), len(search), len(test)) == (120, 40, 40)
    assert train | search | test == set(range(200))


def test_images_keep_their_labels() -> None:
    splits = split_images("raw", *raw())
    for part, numbers in zip((splits.train, splits.search, splits.test), members(splits), strict=True):
        back = (part.inputs[:, 0, 0, 0] * splits.std[0] + splits.mean[0]).round().int()
        assert torch.equal(back % 4, part.targets.int())
        assert len(numbers) == len(part)


def test_every_class_has_its_share_of_every_part() -> None:
    images, _ = raw(300)
    labels = torch.tensor([0] * 200 + [1] * 80 + [2] * 20)
    splits = split_images("raw", images, labels)
    for part, expected in (
        (splits.train, [120, 48, 12]),
        (splits.search, [40, 16, 4]),
        (splits.test, [40, 16, 4]),
    ):
        assert torch.bincount(part.targets).tolist() == expected


def test_the_shares_are_of_the_whole() -> None:
    splits = split_images("raw", *raw(), search_share=0.1, test_share=0.5)
    assert (len(splits.train), len(splits.search), len(splits.test)) == (80, 20, 100)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others() -> None:
    one, same, other = (split_images("raw", *raw(), seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint == same.fingerprint
    assert members(one) == members(same)
    assert members(one) != members(other)
    assert one.fingerprint != other.fingerprint


def test_train_is_normalised_with_its_own_statistics() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 3, 4, 4) * torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    splits = split_images("raw", images, torch.arange(200) % 2)
    assert torch.allclose(splits.train.inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(splits.train.inputs.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    assert splits.search.inputs.mean((0, 2, 3)).abs().max() > 1e-4


def test_bytes_have_the_statistics_of_the_numbers_that_they_are() -> None:
    pixels = torch.randint(
        0, 256, (2_000, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    assert statistics(pixels) == statistics(pixels.double())


@pytest.mark.parametrize("num_classes", [3, 256])
def test_bytes_have_the_class_shares_of_the_numbers_that_they_are(num_classes: int) -> None:
    masks = torch.randint(0, 256, (70, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(class_shares(masks, num_classes), class_shares(masks.long(), num_classes))


@pytest.mark.parametrize("position", [0, 77, 199])
def test_the_fingerprint_changes_with_any_pixel_or_label(position: int) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(200, 1, 3, 3), torch.arange(200) % 4
    original = split_images("raw", images, labels).fingerprint
    changed = images.clone()
    changed[position, 0, 1, 1] += 0.01
    assert split_images("raw", changed, labels).fingerprint != original
    swapped = labels.clone()
    swapped[position] = (swapped[position] + 1) % 4
    assert split_images("raw", images, swapped).fingerprint != original


def test_the_fingerprint_changes_with_the_shape() -> None:
    images, labels = raw()
    flat = split_images("raw", images.reshape(200, 2, 1, 9), labels)
    assert flat.fingerprint != split_images("raw", images, labels).fingerprint


@pytest.mark.parametrize("value", [7.0, 0.1, 0.0])
def test_constant_pixels_become_zero(value: float) -> None:
    splits = split_images("raw", torch.full((50, 1, 2, 2), value), torch.arange(50) % 2)
    assert splits.train.inputs.abs().max() < 1e-6
    assert splits.std == (1.0,)


def test_whole_numbers_and_bytes_are_pixels() -> None:
    images, labels = raw()
    as_bytes = split_images("raw", images.to(torch.uint8), labels.to(torch.int32))
    assert as_bytes.fingerprint == split_images("raw", images, labels).fingerprint


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(20, 3, 3), torch.arange(20) % 2),
        (torch.zeros(20, 1, 3, 3), torch.arange(19) % 2),
        (torch.zeros(20, 1, 3, 3), torch.zeros(20, 2).long()),
        (torch.full((20, 1, 3, 3), float("nan")), torch.arange(20) % 2),
        (torch.full((20, 1, 3, 3), float("inf")), torch.arange(20) % 2),
        (torch.zeros(20, 1, 3, 3), torch.zeros(20).long()),
        (torch.zeros(0, 1, 3, 3), torch.zeros(0).long()),
        (torch.zeros(14, 1, 3, 3), torch.tensor([0] * 10 + [1] * 4)),
        (torch.zeros(20, 1, 3, 3), torch.arange(20) % 2 * 2),
        (torch.zeros(20, 1, 3, 3), torch.arange(20) % 2 - 1),
        (torch.zeros(20, 1, 3, 3), (torch.arange(20) % 2).float()),
    ],
    ids=[
        "no channels",
        "lengths",
        "2-d labels",
        "nan",
        "inf",
        "one class",
        "empty",
        "rare class",
        "missing class",
        "negative",
        "floats",
    ],
)
def test_bad_data_is_a_sentence(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError) as caught:
        split_images("raw", images, labels)
    assert "\n" not in str(caught.value)


def test_masks_are_told_where_they_belong() -> None:
    with pytest.raises(DataError, match=r"labels of shape \(60, 8, 8\) don't fit: .*nas.data.split_tensors"):
        split_images("raw", torch.zeros(60, 3, 8, 8), torch.zeros(60, 8, 8, dtype=torch.int64))


@pytest.mark.parametrize(
    "shares", [(0.0, 0.2), (0.2, 0.0), (0.5, 0.5), (0.2, 1.0), (-0.1, 0.2), (0.2, 0.001)]
)
def test_shares_that_leave_a_part_empty_are_a_sentence(shares: tuple[float, float]) -> None:
    with pytest.raises(NasError):
        split_images("raw", *raw(), search_share=shares[0], test_share=shares[1])


@pytest.mark.parametrize("shares", [(0.05, 0.2), (0.1, 0.8)])
def test_a_split_that_would_lack_a_class_is_a_sentence(shares: tuple[float, float]) -> None:
    labels = torch.tensor([0] * 995 + [1] * 5)
    with pytest.raises(DataError, match="class"):
        split_images("raw", torch.rand(1000, 1, 2, 2), labels, search_share=shares[0], test_share=shares[1])


def test_digits_keeps_the_contract(digits: Splits) -> None:
    check_data_source(Digits())
    assert digits.inputs.shapes == ((1, 8, 8),)
    assert digits.task.num_classes == 10
    assert len(digits.train) + len(digits.search) + len(digits.test) == 1797
    assert Digits(seed=1).load().fingerprint != digits.fingerprint
