from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from nas.data.masks import Masks, UnusableMaskError, mask_tensor
from nas.data.pixels import to_tensor
from nas.errors import DataError
from nas.tasks.segmentation import IGNORED

VALUES = np.random.default_rng(0).integers(0, 3, (7, 9)).astype(np.uint8)
PHOTO = Image.fromarray(80 * VALUES)


def upright(values: np.ndarray, photo: Image.Image, size: tuple[int, int] | None = None) -> torch.Tensor:
    return mask_tensor(Image.fromarray(values), photo, Masks(), size)


@pytest.mark.parametrize(
    "mask",
    [
        Image.fromarray(VALUES),
        Image.fromarray(VALUES).convert("P"),
        Image.fromarray(VALUES.astype(np.uint16)),
        Image.fromarray(VALUES.astype(np.int32)),
        torch.from_numpy(VALUES),
        torch.from_numpy(VALUES)[None].long(),
        VALUES[..., None].astype(np.int64),
    ],
)
def test_a_mask_of_any_kind_is_bytes(mask: object) -> None:
    found = mask_tensor(mask, PHOTO, Masks(), None)
    assert found.dtype == torch.uint8
    assert np.array_equal(found, VALUES)


def test_black_and_white_without_grey_are_two_classes() -> None:
    found = mask_tensor(Image.fromarray(VALUES > 0), PHOTO, Masks(2), None)
    assert np.array_equal(found, VALUES > 0)


def test_values_that_are_no_class_numbers_are_told_their_classes() -> None:
    masks = Masks(("floor", "wall"), ignored=7, values={0: 1, 255: 0, 9: None, 30_000: 1})
    found = masks.to_classes(np.array([[0, 255, 7, 9, 30_000]]))
    assert found.tolist() == [[1, 0, IGNORED, IGNORED, 1]]
    assert Masks(ignored=11).to_classes(np.array([[0, 11]])).tolist() == [[0, IGNORED]]


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (14, 18), (5, 5), (2, 9), (13, 3)])
def test_a_mask_is_scaled_and_cut_as_its_image_is(size: tuple[int, int]) -> None:
    expected = ImageOps.fit(Image.fromarray(VALUES), size[::-1], Image.Resampling.NEAREST)
    assert np.array_equal(upright(VALUES, PHOTO, size), expected)
    assert np.array_equal(mask_tensor(VALUES, np.asarray(PHOTO), Masks(), size), expected)


def photo_turned(orientation: int, kind: str, **options: Any) -> Image.Image:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    PHOTO.resize((90, 70), Image.Resampling.NEAREST).save(stream, kind, exif=exif, **options)
    return Image.open(stream)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_and_mask_turn_together(orientation: int, kind: str) -> None:
    photo = photo_turned(orientation, kind, **({"lossless": True} if kind == "WEBP" else {}))
    large = VALUES.repeat(10, 0).repeat(10, 1)
    if kind == "TIFF":  # is turned as it is read, so that nobody knows how it was stored
        turned = ImageOps.exif_transpose(photo_turned(orientation, "PNG"))
        large = np.asarray(turned) // 80
    found = upright(large, photo)
    image = to_tensor(photo, None, 1)[0]
    assert found.shape == image.shape
    middles = slice(5, None, 10), slice(5, None, 10)
    assert torch.equal((image[middles].float() / 80).round().to(torch.uint8), found[middles])


def test_a_mask_that_was_drawn_on_the_upright_photo_stays() -> None:
    drawn = VALUES.repeat(10, 0).repeat(10, 1).T
    assert np.array_equal(upright(drawn, photo_turned(6, "JPEG")), drawn)


def test_a_mask_with_exif_data_of_its_own_is_turned_by_them() -> None:
    photo, mask = photo_turned(3, "PNG"), photo_turned(3, "PNG")
    found = mask_tensor(mask, photo, Masks(), None)
    assert torch.equal(found, to_tensor(photo, None, 1)[0])


def test_the_pixels_of_a_png_file_are_decoded_for_its_orientation_only_where_it_has_one(
    tmp_path: Path,
) -> None:
    plain, late = tmp_path / "plain.png", tmp_path / "late.png"
    PHOTO.save(plain)
    content = plain.read_bytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    chunk = b"eXIf" + exif.tobytes()[6:]
    written = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    late.write_bytes(content[:-12] + written + content[-12:])
    plain.write_bytes(content[: len(content) // 2])
    with Image.open(plain) as damaged, Image.open(late) as photo:
        assert np.array_equal(upright(VALUES, damaged), VALUES)
        assert np.array_equal(upright(VALUES, photo), VALUES[::-1, ::-1])


@pytest.mark.parametrize(
    ("mask", "masks", "words"),
    [
        (VALUES[:-1], Masks(), "the mask is 9x6 and the image 9x7"),
        (VALUES.T, Masks(), "the mask is 7x9 and the image 9x7"),
        (VALUES + 3, Masks(4), "have values such as 5, and 0 to 3, or 255 for what is ignored, are expected"),
        (VALUES.astype(np.int16) - 1, Masks(4), "values such as -1"),
        (VALUES.astype(np.int32) + 70_000, Masks(4), "values such as 7000"),
        (VALUES, Masks(values={0: 0, 1: 1}), "values such as 2, and only 0, 1 and 255 stand for something"),
        (np.full_like(VALUES, 255), Masks(), "all pixels of the mask are ignored"),
        (np.ones((7, 9), np.float32), Masks(), "the mask is float32"),
        (np.stack([VALUES] * 3, -1), Masks(), r"shape \(7, 9, 3\), where integers \(height, width\)"),
        (Image.fromarray(np.stack([VALUES] * 3, -1)), Masks(), "colours or floats .mode RGB."),
        (3, Masks(), "where integers"),
    ],
)
def test_what_is_no_mask_of_the_image_says_why(mask: object, masks: Masks, words: str) -> None:
    with pytest.raises(UnusableMaskError, match=words):
        mask_tensor(mask, PHOTO, masks, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": 1},
        {"classes": 256},
        {"classes": "ab"},
        {"classes": ("a", 1)},
        {"classes": 2.0},
        {"ignored": -1},
        {"ignored": None},
        {"classes": 3, "ignored": 2},
        {"values": {0: 300}},
        {"values": {"a": 0}},
        {"values": {70_000: 0}},
        {"classes": 2, "values": {0: 2}},
    ],
)
def test_settings_that_say_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="expected") as caught:
        Masks(**settings)
    assert "\n" not in str(caught.value)
