"""Shares of a batch in proportion to how fast the processes are that train together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from nas.space import FloatArray

FEWEST_ITEMS = 2
"""A process has so many: batch norm needs two, and a process without any would never be found to be fast again."""
_NEWEST = 0.2
"""Weight of a batch's time in the running mean, which forgets a slow first batch within about ten."""


@final
class SpeedShares:
    """Weighted dynamic batching (Hong 2021): who computes twice as fast gets twice as many items of a batch.

    Gradients weigh by the items that they are of, so they add up to those of equal shares. Speeds are measured anew in
    every batch. What a process needs per batch besides its items' time counts too: the shares settle where all
    processes take equally long.

    Args:
        size: How many processes there are.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._seconds_per_item: FloatArray = np.zeros(0)

    def divide(self, count: int) -> list[int] | None:
        """Return how many of ``count`` items each process takes; None for equal shares.

        These are what there is while no speeds are known, and where the items are too few for all.
        """
        if len(self._seconds_per_item) == 0 or count < FEWEST_ITEMS * self._size:
            return None
        return apportion(count, 1 / self._seconds_per_item)

    def note(self, items: Sequence[int], seconds: Sequence[float]) -> None:
        """Take in how long each process took for its items of a batch."""
        # A clock may stand still for a short time.
        found = np.maximum(np.asarray(seconds), 1e-9) / np.asarray(items)
        known = self._seconds_per_item if len(self._seconds_per_item) else found
        self._seconds_per_item = (1 - _NEWEST) * known + _NEWEST * found

    def to_plain(self) -> list[float]:
        """Return what is known of the speeds, for a checkpoint."""
        found: list[float] = self._seconds_per_item.tolist()
        return found

    def restore(self, plain: Sequence[float]) -> None:
        """Take over what was known, unless there were more processes then, or fewer."""
        if len(plain) == self._size:
            self._seconds_per_item = np.array(plain)


def apportion(count: int, speeds: FloatArray) -> list[int]:
    """Return how many of ``count`` items each process takes: in proportion to its speed, and at least two.

    Args:
        count: At least two for each.
        speeds: ``(n,)`` positive.
    """
    exact = count * speeds / speeds.sum()
    sizes = np.maximum(np.floor(exact), FEWEST_ITEMS).astype(int)
    while sizes.sum() < count:
        sizes[np.argmax(exact - sizes)] += 1
    while sizes.sum() > count:
        sizes[np.argmax(np.where(sizes > FEWEST_ITEMS, sizes - exact, -np.inf))] -= 1
    return [int(size) for size in sizes]
