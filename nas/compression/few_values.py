"""Numbers that are a few values over and over, in as few bits as tell these apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

_WIDTHS = (1, 2, 4)
"""Bits for each number; a byte holds a whole number of these."""
_GLANCE = 1_000
"""Numbers to look at first: most weights show there that they are all different, and sorting millions takes long."""


@final
@dataclass(frozen=True)
class FewValues:
    """Numbers as positions in a list of their values.

    Args:
        values: ``(count,)`` float32, no more than 16.
        positions: ``(bytes,)`` uint8: several to a byte, the first in the lowest bits; the last byte is filled up.
        shape: Shape of the numbers.
    """

    values: np.ndarray[Any, Any]
    positions: np.ndarray[Any, Any]
    shape: tuple[int, ...]

    @property
    def bits(self) -> int:
        """Bits of a position."""
        return next(width for width in _WIDTHS if len(self.values) <= 1 << width)

    @property
    def shifts(self) -> np.ndarray[Any, Any]:
        """How far the positions in a byte are shifted, in bits, uint8."""
        return np.arange(0, 8, self.bits, dtype=np.uint8)

    def restore(self) -> np.ndarray[Any, Any]:
        """Return the numbers, the same bit for bit."""
        positions = (self.positions[:, None] >> self.shifts) & ((1 << self.bits) - 1)
        restored: np.ndarray[Any, Any] = self.values[positions.ravel()[: int(np.prod(self.shape))]]
        return restored.reshape(self.shape)


def find_few_values(numbers: np.ndarray[Any, Any]) -> FewValues | None:
    """Return float32 numbers as positions; None where they have more than 16 values, or there are none."""
    bit_patterns, most = (
        np.ascontiguousarray(numbers).view(np.uint32),
        1 << _WIDTHS[-1],
    )  # keeps 0 and -0 apart
    if not numbers.size or len(np.unique(bit_patterns.ravel()[:_GLANCE])) > most:
        return None
    patterns, positions = np.unique(bit_patterns, return_inverse=True)
    if len(patterns) > most:
        return None
    empty = FewValues(patterns.view(np.float32), np.empty(0, dtype=np.uint8), numbers.shape)
    per_byte = len(empty.shifts)
    rows = np.pad(positions.ravel().astype(np.uint8), (0, -numbers.size % per_byte)).reshape(-1, per_byte)
    return FewValues(empty.values, np.bitwise_or.reduce(rows << empty.shifts, axis=1), empty.shape)
