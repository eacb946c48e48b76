"""One digit among pieces of others: much of the image is background, as on cluttered MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from nas.checks import check_integers
from nas.data.assembly import assemble_splits
from nas.data.digits_segmentation import print_ink
from nas.data.selection import check_seed
from nas.data.stratify import three_shares
from nas.errors import DataError
from nas.space import IntArray
from nas.splits import Splits
from nas.tasks import Classification

_DIGIT = 8
"""Side of scikit-learn's digits, in pixels."""
_PIECE = 5
"""Side of a piece: enough for a stroke, and too little to tell which digit it is of."""
_SHIFT = 1
"""By how many pixels a digit lies beside its cell, at most."""
_FEWEST = 200
"""Canvases with which each part holds every class, as their digits are shared out evenly."""


@final
@dataclass(frozen=True)
class ClutteredDigits:
    """Canvases with one handwritten digit (Alpaydin 1998), which is the class, and with pieces of other digits.

    A canvas has cells of 8x8 pixels. A digit lies in one of them, shifted by up to a pixel; pieces of 5x5 pixels lie
    in as many random cells, and the digit on top of what is there. Train, search and test have handwriting of their
    own: 60, 20 and 20 % of scikit-learn's.

    Args:
        count: Canvases in all, split 60 / 20 / 20.
        side: Side of a canvas, in pixels.
        pieces: Pieces of other digits on a canvas.
        seed: Seed of everything random.

    Raises:
        DataError: there are too few canvases for all classes, a canvas isn't made of cells, or there are more pieces
            than cells.
    """

    count: int = 4_000
    side: int = 32
    pieces: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        check_integers(self, "count", "side", "pieces")
        check_seed(self.seed)
        if self.count < _FEWEST or self.side < 2 * _DIGIT or self.side % _DIGIT:
            raise DataError(
                f"ClutteredDigits has count={self.count} and side={self.side}: at least {_FEWEST} canvases, and a side "
                f"of two or more times {_DIGIT} pixels are expected."
            )
        if not 0 <= self.pieces <= (self.side // _DIGIT) ** 2:
            raise DataError(
                f"ClutteredDigits has pieces={self.pieces}: 0 to {(self.side // _DIGIT) ** 2}, the number of cells, "
                "are expected."
            )

    def load(self) -> Splits:
        """Return the splits: inputs ``(n, 1, side, side)`` uint8, targets ``(n,)`` int64."""
        data = load_digits()
        ink = data.images / data.images.max()
        rng = np.random.default_rng(self.seed)
        counts = [self.count - 2 * (self.count // 5), self.count // 5, self.count // 5]
        images, targets = [], []
        for rows, count in zip(three_shares(data.target, 0.2, 0.2, self.seed), counts, strict=True):
            shown = rng.permutation(np.resize(rows, count))
            images += [self._canvas(ink[row], ink[rng.choice(rows, self.pieces)], rng) for row in shown]
            targets.append(torch.from_numpy(data.target[shown]).to(torch.int64))
        values = torch.from_numpy(np.stack(images)).unsqueeze(1)
        return assemble_splits("a digit in clutter", values, targets, Classification(10))

    def _canvas(
        self, digit: NDArray[np.float64], others: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return an image ``(side, side)`` of a digit, and of pieces of as many others as are given."""
        ink = np.zeros((self.side, self.side))
        cells: IntArray = _DIGIT * np.indices((self.side // _DIGIT,) * 2).reshape(2, -1).T
        room = _DIGIT - _PIECE + 1
        for other, cell in zip(others, rng.permutation(cells), strict=False):
            (top, left), (above, before) = cell + rng.integers(room, size=2), rng.integers(room, size=2)
            ink[top : top + _PIECE, left : left + _PIECE] = other[
                above : above + _PIECE, before : before + _PIECE
            ]
        place = rng.choice(cells) + rng.integers(-_SHIFT, _SHIFT + 1, 2)
        top, left = place.clip(0, self.side - _DIGIT)
        ink[top : top + _DIGIT, left : left + _DIGIT] = digit
        return print_ink(ink, rng)
