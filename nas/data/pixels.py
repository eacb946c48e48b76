"""One image of whatever kind as a tensor of channels, height and width."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from nas.errors import DataError

_GREY = ("1", "L", "LA")


def to_tensor(item: object, size: tuple[int, int] | None, channels: int | None) -> Tensor:
    """Return an image as ``(channels, height, width)``, a vector as it is.

    A stated size is reached as image networks usually are fed: scaled until the image covers it, with
    antialiasing, then cut at the centre.

    Args:
        item: A PIL image; an array ``(height, width)`` or ``(height, width, channels)``; a tensor
            ``(channels, height, width)`` or ``(height, width)``; or a vector.
        size: Height and width; None to leave an image as large as it is.
        channels: 1 or 3, for PIL images; None for 1 where an image is grey, 3 otherwise.

    Returns:
        uint8, float32, or int64 for integers of other kinds.

    Raises:
        DataError: a PIL image holds floats, or integers of 32 bits of which the range isn't known.
    """
    if isinstance(item, Image.Image):
        return _from_pil(item, size, channels)
    values = torch.as_tensor(np.ascontiguousarray(item) if isinstance(item, np.ndarray) else item)
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


def _from_pil(image: Image.Image, size: tuple[int, int] | None, channels: int | None) -> Tensor:
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_eight_bits(image))
    mode = {1: "L", 3: "RGB"}[channels or (1 if image.mode in _GREY else 3)]
    if size is not None:
        image.draft(mode, (2 * size[1], 2 * size[0]))  # a JPEG file is decoded no larger than needed
    image = image.convert(mode)
    if size is not None and image.size != (size[1], size[0]):
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.array(image, dtype=np.uint8)
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1)


def _eight_bits(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return 16 bits a pixel scaled to 8, where PIL's own conversion would clip.

    Mode I has 32 bits, which PIL makes of some files of 16 bits. What fits into 8 bits there may be dark or may be
    8 bits, and deciding so for each image would brighten the dark ones of a data set.
    """
    values = np.asarray(image)
    if image.mode == "F":
        raise DataError(
            "the image holds floats (mode F), of which the range isn't known: convert it to 8 bits (mode L), or "
            "give arrays or tensors of floats."
        )
    if image.mode == "I" and values.any() and not (values.min() >= 0 and 255 < values.max() < 65_536):
        raise DataError(
            f"the image holds integers of 32 bits (mode I) from {values.min()} to {values.max()}, of which the range "
            "isn't known: convert it to 8 bits (mode L) or 16 (mode I;16)."
        )
    return (values.astype(np.uint32) // 257).astype(np.uint8)
