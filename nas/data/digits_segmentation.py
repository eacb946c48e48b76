"""Segmentation that everybody can run: digits that scikit-learn ships, on canvases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from nas.checks import check_integers
from nas.data.assembly import assemble_splits
from nas.data.selection import check_seed
from nas.data.stratify import three_shares
from nas.errors import DataError
from nas.space import IntArray
from nas.splits import Splits
from nas.tasks import SemanticSegmentation

_SIDES = (12, 14)
"""Smallest and largest side of a digit on a canvas, in pixels."""
_INK = 0.35
"""Least darkness, as a share of the darkest, with which a pixel belongs to its digit."""
_NOISE = 8.0
"""Standard deviation of the grain of the paper; white is 255."""
_TRIES = 50
"""Random places of which none was free: then the canvas is taken for full."""
_FEWEST = 200
"""Canvases with which about 100 digits are in the smallest part, so that it lacks one in 3 of 10,000 draws."""


@final
@dataclass(frozen=True)
class DigitsSegmentation:
    """Canvases with two or three handwritten digits (Alpaydin 1998) and, for each pixel, which digit it belongs to.

    Class 0 is the background, class d + 1 the digit d. Digits are scaled to sides of 12 to 14 pixels and don't
    overlap. Train, search and test have handwriting of their own: 60, 20 and 20 % of scikit-learn's.

    Args:
        count: Canvases in all, split 60 / 20 / 20.
        side: Side of a canvas, in pixels.
        digits: How many of the ten there are, from 0 on: the fewer, the sooner they are learned.
        seed: Seed of everything random.

    Raises:
        DataError: there are too few canvases for all digits, or a canvas is too small for two.
    """

    count: int = 1_500
    side: int = 32
    digits: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_integers(self, "count", "side", "digits")
        check_seed(self.seed)
        if not 1 <= self.digits <= 10:
            raise DataError(f"DigitsSegmentation has digits={self.digits}: 1 to 10 are expected.")
        if self.count < _FEWEST or self.side < 2 * _SIDES[1]:
            raise DataError(
                f"DigitsSegmentation has count={self.count} and side={self.side}: at least {_FEWEST} canvases, for "
                f"every digit to be in every part, of at least {2 * _SIDES[1]} pixels are needed."
            )

    def load(self) -> Splits:
        """Return the splits: inputs ``(n, 1, side, side)`` uint8, targets ``(n, side, side)`` uint8."""
        data = load_digits(n_class=self.digits)
        sources = three_shares(data.target, 0.2, 0.2, self.seed)
        counts = [self.count - 2 * (self.count // 5), self.count // 5, self.count // 5]
        rng = np.random.default_rng(self.seed)
        canvases = [
            _canvas(data.images[rows], data.target[rows], self.side, rng)
            for rows, count in zip(sources, counts, strict=True)
            for _ in range(count)
        ]
        images = torch.from_numpy(np.stack([image for image, _ in canvases])).unsqueeze(1)
        masks = torch.from_numpy(np.stack([mask for _, mask in canvases]))
        task = SemanticSegmentation(self.digits + 1, ("background", *map(str, range(self.digits))))
        return assemble_splits("digits on a canvas", images, masks.split(counts), task)


def _canvas(
    digits: NDArray[np.float64], labels: IntArray, side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image and its mask, ``(side, side)`` each."""
    ink, mask = np.zeros((side, side)), np.zeros((side, side), dtype=np.uint8)
    for _ in range(rng.integers(2, 4)):
        chosen, size = rng.integers(len(digits)), int(rng.integers(_SIDES[0], _SIDES[1] + 1))
        place = _free_place(mask, size, rng)
        if place is None:
            continue
        digit = _scale_digit(digits[chosen], size) * rng.uniform(0.8, 1.0)
        ink[place] = digit
        mask[place] = np.where(digit >= _INK * digit.max(), labels[chosen] + 1, 0)
    return print_ink(ink, rng), mask


def print_ink(ink: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a grey image of ink from 0 to 1, on grainy paper of a random brightness."""
    paper = rng.uniform(180, 240)
    image = paper * (1 - ink) + rng.normal(0, _NOISE, ink.shape)
    return image.clip(0, 255).round().astype(np.uint8)


def _free_place(mask: NDArray[np.uint8], size: int, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """Return a random square without any digit; None if none was found."""
    for _ in range(_TRIES):
        top, left = rng.integers(0, len(mask) - size + 1, 2)
        place = slice(top, top + size), slice(left, left + size)
        if not mask[place].any():
            return place
    return None


def _scale_digit(digit: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return an 8x8 digit of darkness 0 to 16 as ``(size, size)`` of 0 to 1."""
    values: Tensor = torch.from_numpy(digit)[None, None] / 16
    larger = F.interpolate(values, (size, size), mode="bilinear", align_corners=False)
    return np.asarray(larger[0, 0].numpy())
