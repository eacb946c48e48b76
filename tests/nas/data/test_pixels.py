"""What of a picture's file reaches the network."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from nas.data.pixels import is_deep, losses, to_tensor
from nas.errors import DataError

TURN = Image.Transpose
LYING = {
    1: None,
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_270,
}
"""How a camera lays an upright picture down, by the orientation that it writes."""


def saved(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    """Return an image as it is opened from a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return Image.open(stream)


def photo(orientation: int, kind: str, upright: Image.Image) -> Image.Image:
    turn = LYING[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return saved(upright if turn is None else upright.transpose(turn), kind, exif=exif, **lossless)


def pattern(height: int, width: int) -> Image.Image:
    """Every pixel differs from all others."""
    values = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.fromarray(values)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", LYING)
def test_photos_are_put_upright(orientation: int, kind: str) -> None:
    upright = to_tensor(pattern(4, 6), None, None)
    assert torch.equal(to_tensor(photo(orientation, kind, pattern(4, 6)), None, None), upright)


@pytest.mark.parametrize("orientation", LYING)
def test_a_large_photo_of_some_size_is_put_upright_too(orientation: int) -> None:
    quarters = np.zeros((400, 800, 3), dtype=np.uint8)
    quarters[:200, :400, 0] = quarters[200:, 400:, 1] = 255
    tensor = to_tensor(photo(orientation, "JPEG", Image.fromarray(quarters)), (8, 16), 3)
    assert tensor.shape == (3, 8, 16)
    assert tensor[0, :3, :7].min() > 240 > 15 > tensor[0, 5:].max()
    assert tensor[1, 5:, 9:].min() > 240 > 15 > tensor[1, :3].max()


def test_deep_grey_is_put_upright_too() -> None:
    upright = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000)
    lying = photo(6, "PNG", upright)
    assert lying.size == (2, 3)
    assert torch.equal(to_tensor(lying, None, None), to_tensor(upright, None, None))


def test_exif_data_that_make_no_sense_turn_nothing() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 77
    plain = to_tensor(pattern(4, 6), None, None)
    assert torch.equal(to_tensor(saved(pattern(4, 6), "PNG", exif=exif), None, None), plain)
    assert torch.equal(to_tensor(saved(pattern(4, 6), "PNG", exif=b"Exif\0\0nonsense"), None, None), plain)


def transparent(mode: str) -> Image.Image:
    """A black pixel of full alpha, one of half alpha, and red or grey under alpha 0."""
    rgba = np.array([[[0, 0, 0, 255], [0, 0, 0, 128], [200, 0, 0, 0]]], dtype=np.uint8)
    image = Image.fromarray(rgba)
    if mode == "P":
        palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
        palette.putpalette([0, 0, 0, 0, 0, 0, 200, 0, 0])
        return saved(palette, "PNG", transparency=bytes([255, 128, 0]))
    return saved(image.convert(mode), "PNG") if mode == "LA" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGBa"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_transparent_images_lie_on_white(mode: str, channels: int | None) -> None:
    tensor = to_tensor(transparent(mode), None, channels)
    assert tensor.shape[0] == (channels or (1 if mode == "LA" else 3))
    for values in tensor:
        assert values[0].tolist() == [0, 127, 255]


@pytest.mark.parametrize(
    ("image", "clear"),
    [
        (Image.new("RGB", (2, 1), (9, 8, 7)), (9, 8, 7)),
        (Image.new("L", (2, 1), 9), 9),
        (Image.fromarray(np.full((1, 2), 900, dtype=np.uint16)), 900),
    ],
    ids=["RGB", "L", "I;16"],
)
def test_a_colour_that_stands_for_clear_is_white(image: Image.Image, clear: Any) -> None:
    assert to_tensor(image, None, 3).max() < 20
    tensor = to_tensor(saved(image, "PNG", transparency=clear), None, 3)
    assert tensor.unique().tolist() == [1 if is_deep(image) else 255]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_clear_entry_of_a_palette_is_white(kind: str) -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([9, 9, 9, 8, 8, 8])
    assert to_tensor(saved(image, kind, transparency=0), None, 3)[:, 0].tolist() == [[255, 8]] * 3


def test_twelve_bits_in_sixteen_keep_their_levels() -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for image in (saved(Image.fromarray(values), kind) for kind in ("PNG", "TIFF")):
        tensor = to_tensor(image, None, 1)
        assert tensor.dtype == torch.float32
        assert len(tensor.unique()) == 4096
        assert tensor.max() == torch.tensor(4095) / 65_535
        assert torch.equal(to_tensor(image, None, 3), tensor.expand(3, -1, -1))


def test_eight_bits_beside_sixteen_mean_the_same_light() -> None:
    white = to_tensor(Image.new("L", (3, 3), 255), None, None, deep=True)
    deep_white = to_tensor(Image.fromarray(np.full((3, 3), 65_535, dtype=np.uint16)), None, None)
    assert torch.equal(white, deep_white)
    assert white.unique().tolist() == [1]


def test_deep_grey_is_scaled_to_a_size() -> None:
    values = np.tile(np.array([1000, 3000], dtype=np.uint16), (40, 20))
    tensor = to_tensor(Image.fromarray(values), (20, 20), None)
    assert tensor.shape == (1, 20, 20)
    assert (tensor * 65_535 - 2000).abs().max() < 800


def frames(kind: str) -> Image.Image:
    first, second = (Image.new("L", (4, 4), shade) for shade in (10, 200))
    return saved(first, kind, save_all=True, append_images=[second])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_used_and_it_is_said(kind: str) -> None:
    image = frames(kind)
    said = losses(image)
    assert said is not None
    assert "first is used" in said
    assert to_tensor(image, None, 1).unique().tolist() == [10]
    assert losses(saved(Image.new("L", (4, 4)), kind)) is None


def test_arrays_that_are_no_real_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="complex"):
        to_tensor(np.zeros((4, 4, 1), dtype=np.complex64), None, None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32_without_a_gradient(dtype: torch.dtype) -> None:
    tensor = to_tensor(torch.ones(1, 4, 4, dtype=dtype, requires_grad=True), None, None)
    assert tensor.dtype == torch.float32
    assert not tensor.requires_grad
