"""Masks: which class the values of an image's pixels stand for, and one mask as a tensor."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nas.data.pixels import read_turn
from nas.errors import DataError
from nas.tasks.segmentation import IGNORED

_VALUES = 2**16
"""More than any value of a mask of 16 bits."""
_CLASS_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of Pillow whose pixels are one whole number each; that of a palette is its entry."""
_QUARTER_TURNS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


class UnusableMaskError(Exception):
    """A mask can't be used; the message says why, as a clause."""


@final
@dataclass(frozen=True)
class Masks:
    """What the values of masks stand for.

    Args:
        classes: The names of the classes, by number; or how many there are. None for as many as the masks hold.
        ignored: The value of pixels that neither teach nor count.
        values: The class of each value, None for what is ignored, where values are no class numbers:
            ``{0: 0, 255: 1}`` for masks in black and white. Other values are an error then. Empty where they are.

    Raises:
        DataError: an argument is out of range.
    """

    classes: int | tuple[str, ...] | None = None
    ignored: int = IGNORED
    values: Mapping[int, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, named = self.num_classes, isinstance(self.classes, tuple)
        if count is not None and (not _is_whole(count) or not 2 <= count <= IGNORED):
            raise DataError(
                f"classes is {self.classes!r}: 2 to {IGNORED} names in a tuple, such a number of classes, or None for "
                "as many as the masks hold, is expected."
            )
        if named and not all(isinstance(name, str) for name in self.class_names):
            raise DataError(f"classes is {self.classes!r}: a name for each class is expected.")
        first = 0 if self.values else count or 0
        if not _is_whole(self.ignored) or not first <= self.ignored < _VALUES:
            raise DataError(
                f"ignored is {self.ignored!r}: a value from {first} to {_VALUES - 1}, which is no class, is expected."
            )
        last = (count or IGNORED) - 1
        for value, number in self.values.items():
            known = number is None or (_is_whole(number) and 0 <= number <= last)
            if not _is_whole(value) or not 0 <= value < _VALUES or not known:
                raise DataError(
                    f"values says that {value!r} stands for {number!r}: a value from 0 to {_VALUES - 1} for a class "
                    f"from 0 to {last}, or None for what is ignored, is expected."
                )

    @property
    def num_classes(self) -> int | None:
        """How many classes there are; None where the masks tell."""
        return len(self.classes) if isinstance(self.classes, tuple) else self.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by number; empty where they have none."""
        return self.classes if isinstance(self.classes, tuple) else ()

    @functools.cached_property
    def _table(self) -> NDArray[np.int16]:
        """``(65537,)``: the class of each value, :data:`IGNORED`, or -1 for what stands for nothing; the last is -1."""
        table = np.full(_VALUES + 1, -1, dtype=np.int16)
        if self.values:
            classes = [IGNORED if number is None else number for number in self.values.values()]
            table[list(self.values)] = classes
        else:
            table[: self.num_classes or IGNORED] = np.arange(self.num_classes or IGNORED)
        if self.ignored not in self.values:
            table[self.ignored] = IGNORED
        return table

    def to_classes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the classes of ``(height, width)`` integers, :data:`IGNORED` for what is ignored.

        Raises:
            UnusableMaskError: a value stands for nothing, or all pixels are ignored.
        """
        places = values
        if values.dtype != np.uint8:
            places = np.where((values >= 0) & (values < _VALUES), values.astype(np.int64), _VALUES)
        # Few values occur, and to count bytes is faster than to look up each pixel.
        occurring = np.flatnonzero(torch.bincount(torch.from_numpy(places.ravel())).numpy())
        classes = self._table[occurring]
        if (classes < 0).any():
            strange = self._table[places] < 0
            raise UnusableMaskError(
                f"{strange.sum()} pixels of the mask have values such as {values[strange][0]}, and "
                f"{self._describe_expected()}"
            )
        if (classes == IGNORED).all():
            raise UnusableMaskError("all pixels of the mask are ignored")
        if places.dtype == np.uint8 and np.array_equal(occurring, classes):
            return values
        return np.asarray(self._table[places], dtype=np.uint8)

    def _describe_expected(self) -> str:
        if self.values:
            return f"only {', '.join(map(str, sorted(self.values)))} and {self.ignored} stand for something"
        last = (self.num_classes or IGNORED) - 1
        return f"0 to {last}, or {self.ignored} for what is ignored, are expected"


def mask_tensor(mask: object, image: object, masks: Masks, size: tuple[int, int] | None) -> Tensor:
    """Return a mask as ``(height, width)`` uint8, turned, scaled and cut as its image is by ``to_tensor``.

    Where the image's EXIF data turn it, a mask of the size of the stored pixels turns with it, and one that has the
    size of the upright image lies right already. EXIF data of the mask itself win over both. A stated size
    is reached by taking the nearest pixels.

    Args:
        mask: A PIL image of one number a pixel; or integers ``(height, width)``, with a channel before or behind.
        image: The image: PIL, ``(channels, height, width)`` as a tensor, or ``(height, width, channels)`` as an array.
        masks: What values stand for.
        size: As for the image.

    Raises:
        UnusableMaskError: it is no mask, is of another size than the image, holds a value that stands for nothing, or
            is ignored as a whole.
    """
    values = _upright_like(_integers(mask), mask, image)
    if size is not None:
        values = _fit_size(values, size)
    return torch.from_numpy(masks.to_classes(values))


def _integers(mask: object) -> NDArray[Any]:
    if isinstance(mask, Image.Image) and mask.mode not in _CLASS_NUMBERS:
        raise UnusableMaskError(
            f"the mask holds colours or floats (mode {mask.mode}), where a class number for each pixel is expected, "
            "grey or by palette"
        )
    values = np.asarray(mask).copy()  # because torch takes writable memory only
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise UnusableMaskError(
            f"the mask is {values.dtype} of shape {values.shape}, where integers (height, width) are expected"
        )
    return values.astype(np.uint8) if values.dtype.kind == "b" else values


def _upright_like(values: NDArray[Any], mask: object, image: object) -> NDArray[Any]:
    own = read_turn(mask) if isinstance(mask, Image.Image) else None
    turn = read_turn(image) if isinstance(image, Image.Image) else None
    stored = _height_and_width(image)
    upright = stored[::-1] if turn in _QUARTER_TURNS else stored
    if own is None and values.shape == stored:
        own = turn
    turned = values if own is None else _turn(values, own)
    if turned.shape != upright:
        raise UnusableMaskError(f"the mask is {_sides(values.shape)} and the image {_sides(stored)}")
    return turned


def _turn(values: NDArray[Any], turn: Image.Transpose) -> NDArray[Any]:
    kept = values if values.dtype == np.uint8 else values.astype(np.int32)  # what Pillow turns
    return np.array(Image.fromarray(kept).transpose(turn))


def _height_and_width(image: object) -> tuple[int, ...]:
    if isinstance(image, Image.Image):
        return image.size[::-1]
    shape = tuple(image.shape) if isinstance(image, Tensor) else np.asarray(image).shape
    return shape[-2:] if isinstance(image, Tensor) else shape[:2]


def _fit_size(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the nearest pixels of what is left of an image that is scaled to cover a size and cut at the centre."""
    scale = min(length / wanted for length, wanted in zip(values.shape, size, strict=True))
    rows, columns = (
        ((length - scale * wanted) / 2 + scale * (np.arange(wanted) + 0.5)).astype(int).clip(0, length - 1)
        for length, wanted in zip(values.shape, size, strict=True)
    )
    return values[np.ix_(rows, columns)]


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, reversed(shape)))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
