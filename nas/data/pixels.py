"""One image of whatever kind as a tensor of channels, height and width."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from nas.errors import DataError

RULES = 2
"""Changes when an image's values do that follow from the same file, so that nobody reads those of before."""

_GREY = ("1", "L", "LA", "La")
_BACKGROUND = "white"
"""What transparent images lie on: the paper and the page on which people see them."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts an image upright, by the orientation that its EXIF data state."""
_EXIF_FIRST = ("JPEG", "MPO")
"""Formats that state EXIF data ahead of the pixels, which are not turned as they are read."""
_PNG_EXIF = (b"eXIf", b"Raw profile type exif")
"""Words in a PNG file that holds EXIF data."""


def to_tensor(
    item: object, size: tuple[int, int] | None, channels: int | None, *, deep: bool = False
) -> Tensor:
    """Return an image as ``(channels, height, width)``, a vector as it is.

    A stated size is reached as image networks usually are fed: scaled until the image covers it, with
    antialiasing, then cut at the centre. PIL images are put upright as their EXIF data say; transparent ones lie on
    white.

    Args:
        item: A PIL image; an array ``(height, width)`` or ``(height, width, channels)``; a tensor
            ``(channels, height, width)`` or ``(height, width)``; or a vector.
        size: Height and width; None to leave an image as large as it is.
        channels: 1 or 3, for PIL images; None for 1 where an image is grey, 3 otherwise.
        deep: Whether all PIL images become floats, as deep ones do.

    Returns:
        uint8, float32, or int64 for integers of other kinds. A PIL image that :func:`is_deep` gives float32 in
        [0, 1], where 1 is the largest value of 16 bits.

    Raises:
        DataError: a PIL image holds floats, or integers of 32 bits of which the range isn't known; or numbers are
            complex.
    """
    if isinstance(item, Image.Image):
        return _from_pil(item, size, channels, deep)
    values = torch.as_tensor(np.ascontiguousarray(item) if isinstance(item, np.ndarray) else item).detach()
    if values.is_complex():
        raise DataError(f"the values are {values.dtype}: real numbers are expected.")
    if values.dtype != torch.uint8:
        values = values.to(torch.float32 if values.is_floating_point() else torch.int64)
    if values.ndim == 2:
        values = values.unsqueeze(0)
    elif values.ndim == 3 and isinstance(item, np.ndarray):
        values = values.permute(2, 0, 1)
    if size is None or values.ndim != 3:
        return values
    height, width = values.shape[1:]
    scale = max(size[0] / height, size[1] / width)
    covering = [max(size[0], round(height * scale)), max(size[1], round(width * scale))]
    cut: Tensor = V.center_crop(V.resize(values, covering, antialias=True), list(size))
    return cut


def is_deep(item: object) -> bool:
    """Whether this is a PIL image of 16 bits of grey per pixel, of which 8 would keep too little."""
    return isinstance(item, Image.Image) and item.mode.startswith("I")


def losses(item: object) -> str | None:
    """Return what of a PIL image, as it was opened, is not used; None if all is."""
    if not isinstance(item, Image.Image):
        return None
    if getattr(item, "is_animated", False):  # of formats that can hold several frames
        return "hold several frames or pages, of which the first is used"
    if not is_deep(item) and any(";16" in str(tile) for tile in getattr(item, "tile", ())):
        return "hold 16 bits per channel, of which Pillow keeps the upper 8"
    return None


def _from_pil(image: Image.Image, size: tuple[int, int] | None, channels: int | None, deep: bool) -> Tensor:
    if image.mode == "F":
        raise DataError(
            "the image holds floats (mode F), of which the range isn't known: convert it to 8 bits (mode L), or "
            "give arrays or tensors of floats."
        )
    wanted = channels or (1 if image.mode in _GREY or is_deep(image) else 3)
    mode = "L" if wanted == 1 else "RGB"
    if size is not None:
        side = 2 * max(size)
        image.draft(mode, (side, side))  # a JPEG file is decoded no larger than needed, however it lies
    image = _upright(image)
    image = _deep_grey(image) if is_deep(image) else _opaque(image)
    if image.mode not in (mode, "F"):
        image = image.convert(mode)
    if size is not None and image.size != (size[1], size[0]):
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    values = _planes(image)
    if deep and values.dtype == torch.uint8:
        values = values.float() / 255
    return values.expand(wanted, -1, -1)


def _planes(image: Image.Image) -> Tensor:
    """Return ``(channels, height, width)``: Pillow takes pixels apart in half the time that a transposed copy takes."""
    planes = bytearray().join(plane.tobytes() for plane in image.split())
    values = torch.frombuffer(planes, dtype=torch.float32 if image.mode == "F" else torch.uint8)
    return values.view(-1, image.height, image.width)


def read_turn(image: Image.Image) -> Image.Transpose | None:
    """Return what puts an image upright, as it is opened or decoded; None where it lies so already.

    Pixels are decoded only where they have to be: of formats that are turned as they are read, and of PNG files
    that hold EXIF data, maybe behind the pixels.
    """
    if _is_plain_png(image):
        return None
    if image.format not in _EXIF_FIRST:
        image.load()
    return _exif_turn(image)


def _is_plain_png(image: Image.Image) -> bool:
    path = getattr(image, "filename", "") if image.format == "PNG" else ""
    if not path:
        return False
    content = Path(path).read_bytes()
    return not any(word in content for word in _PNG_EXIF)


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # some formats are turned as they are read, and forget their orientation
    turn = _exif_turn(image)
    return image if turn is None else image.transpose(turn)


def _exif_turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, ValueError, struct.error):
        return None  # damaged EXIF data state nothing, and the pixels are whole


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image)


def _deep_grey(image: Image.Image) -> Image.Image:
    """Return 16 bits a pixel as floats (mode F), 1 for the largest value that 16 bits hold.

    So a value means the same in every file, and what a camera of 10 or 12 bits wrote keeps all its levels: training
    sees it normalised with the deviation of the data.

    Mode I has 32 bits, which PIL makes of some files of 16 bits. What fits into 8 bits there may be dark or may be
    8 bits, and deciding so for each image would brighten the dark ones of a data set.
    """
    values = np.asarray(image)
    if image.mode == "I" and values.any() and not (values.min() >= 0 and 255 < values.max() < 65_536):
        raise DataError(
            f"the image holds integers of 32 bits (mode I) from {values.min()} to {values.max()}, of which the range "
            "isn't known: convert it to 8 bits (mode L) or 16 (mode I;16)."
        )
    clear = image.info.get("transparency")  # the one value that a PNG file may say is clear: white lies below
    return Image.fromarray(np.where(values == clear, 1, values.astype(np.float32) / np.float32(65_535)))
