"""Raw labelled items, before they are split and decoded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from PIL import Image

from nas.data.groups import Groups
from nas.space import IntArray


@final
@dataclass(frozen=True)
class Items:
    """Labelled items that are decoded when they are asked for.

    Args:
        labels: ``(n,)`` int64: the class of each item; or ``(n, num_classes)``: 1 for each class that its mask holds.
        read: Returns the item at a position, in any form that :func:`to_tensor` takes; raises where it
            is damaged.
        name: Returns what a user calls the item at a position.
        key: Returns what changes when the content may have changed; None where that can't be known. Called only
            where decoded items go to a file, because it may look at every file.
        threads: Whether ``read`` may run in several threads at a time.
        files: Whether ``read`` opens a file as a PIL image each time, which is to be closed after use.
        masks: The masks, whose ``read`` gives ``(height, width)`` uint8; None where an item has one class.
        groups: Which items must be in one split; None where any may be apart.
    """

    labels: IntArray
    read: Callable[[int], object]
    name: Callable[[int], str]
    key: Callable[[], str] | None = None
    threads: bool = False
    files: bool = False
    masks: Items | None = None
    groups: Groups | None = None

    def open(self, row: int) -> contextlib.AbstractContextManager[object]:
        """Return the item at a position, to be used within ``with``."""
        item = self.read(row)
        return item if self.files and isinstance(item, Image.Image) else contextlib.nullcontext(item)

    def take(self, rows: IntArray) -> Items:
        """Return some of the items as items of their own."""
        if np.array_equal(rows, np.arange(len(self.labels))):
            return self
        stated = self.key
        return dataclasses.replace(
            self,
            labels=self.labels[rows],
            read=lambda row: self.read(int(rows[row])),
            name=lambda row: self.name(int(rows[row])),
            key=None if stated is None else lambda: f"{stated()} {rows.tolist()}",
            masks=None if self.masks is None else self.masks.take(rows),
            groups=None if self.groups is None else self.groups[rows],
        )


@final
@dataclass(frozen=True)
class Chosen:
    """Positions of items, in the order in which they are to be stored."""

    items: Items
    rows: IntArray
