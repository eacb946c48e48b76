"""Images with masks: read once before they are split, because only the masks tell which classes an item holds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nas.data.decoding import Decoding, decode
from nas.data.items import Chosen, Items
from nas.data.masks import Masks, mask_tensor
from nas.data.selection import FoundItems
from nas.errors import DataError
from nas.files import digest
from nas.space import IntArray
from nas.tasks.segmentation import IGNORED

_MASK_SHARE = 0.25
"""Part of the bytes that a mask takes beside an image in colour."""
_MASK_RULES = 1
"""Changes when a mask's values do that follow from the same file, so that nobody reads those of before."""


@final
@dataclass(frozen=True)
class Pairs:
    """Images and their masks, in the same order, not read yet.

    Args:
        images: Their labels mean nothing.
        masks: ``read`` gives ``(height, width)`` uint8, as :func:`nas.data.masks.mask_tensor` does.
    """

    images: Items
    masks: Items


def pairs_of_files(
    images: Sequence[Path], files: Sequence[Path], masks: Masks, size: tuple[int, int] | None
) -> Pairs:
    """Return images and masks that lie in files.

    Args:
        images: Their files.
        files: Files of their masks, in the same order.
        masks: What values stand for.
        size: As in :class:`nas.data.decoding.Decoding`.
    """

    def read_mask(row: int) -> Tensor:
        with Image.open(images[row]) as image, Image.open(files[row]) as mask:
            return mask_tensor(mask, image, masks, size)

    return Pairs(
        _items(images, lambda row: Image.open(images[row]), functools.partial(_key, images)),
        _items(files, read_mask, functools.partial(_key, [*images, *files], repr(masks), size)),
    )


def _items(paths: Sequence[Path], read: Callable[[int], object], key: Callable[[], str]) -> Items:
    return Items(
        np.zeros(len(paths), dtype=np.int64),
        read,
        name=lambda row: str(paths[row]),
        key=functools.cache(key),
        threads=True,
        files=True,
    )


def _key(paths: Sequence[Path], *facts: object) -> str:
    stats = [path.stat() if path.exists() else path.lstat() for path in paths]
    files = [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in zip(paths, stats, strict=True)]
    return digest([_MASK_RULES, files, *facts])


def read_masked_parts(
    name: str, pairs: Sequence[Pairs], masks: Masks, how: Decoding, search: Pairs | None = None
) -> FoundItems:
    """Read all masks, and return the parts of a data set, whose items know their masks and the classes in them.

    Args:
        name: Name of the data set.
        pairs: What is to be split, and the official test part where there is one.
        masks: What values stand for.
        how: The size is that of the masks already.
        search: The official search part; None if there is none.

    Raises:
        DataError: a mask can't be used and may not be left out, or they differ in size.
    """
    given = [*pairs, *(() if search is None else (search,))]
    chosen = [Chosen(pair.masks, np.arange(len(pair.masks.labels))) for pair in given]
    if not all(len(part.rows) for part in chosen):
        raise DataError(f"{name} holds no images with masks: check that the path is right.")
    decoded = decode(chosen, _for_masks(how))
    holds = _classes_held(decoded.values)
    num_classes = masks.num_classes or int(np.flatnonzero(holds.any(0)).max()) + 1
    ends = np.cumsum([0, *(len(part.rows) for part in decoded.kept)]).tolist()
    items = [
        _make_items(pair, part.rows, holds[begin:end, :num_classes], decoded.values[begin:end, 0])
        for pair, part, begin, end in zip(given, decoded.kept, ends[:-1], ends[1:], strict=True)
    ]
    of_search = None if search is None else items.pop()
    return FoundItems(name, items[0], items[1] if len(items) > 1 else None, masks.class_names, of_search)


def _make_items(pair: Pairs, rows: IntArray, holds: IntArray, values: Tensor) -> Items:
    """Return the items of a pair that could be read, with their masks."""
    masks = dataclasses.replace(
        pair.masks.take(rows), labels=holds, read=lambda row: values[row], threads=False
    )
    return dataclasses.replace(pair.images.take(rows), labels=holds, masks=masks)


def decode_masks(chosen: Sequence[Chosen], how: Decoding) -> Tensor:
    """Return the masks of items as :func:`read_masked_parts` gives them, ``(n, height, width)`` uint8.

    Args:
        chosen: Parts of which all items could be read.
        how: As for the images.
    """
    parts = [Chosen(part.items.masks, part.rows) for part in chosen if part.items.masks is not None]
    return decode(parts, _for_masks(how)).values[:, 0]


def for_images(how: Decoding) -> Decoding:
    """Return how images are decoded beside their masks, so that both together have their share of the memory."""
    return dataclasses.replace(how, memory_share=(1 - _MASK_SHARE) * how.memory_share)


def _for_masks(how: Decoding) -> Decoding:
    """Return how masks are decoded, which have the size already."""
    return dataclasses.replace(how, size=None, channels=None, memory_share=_MASK_SHARE * how.memory_share)


def _classes_held(masks: Tensor) -> IntArray:
    """Return ``(n, 255)``: 1 where a class number occurs in a mask, 0 elsewhere."""
    counts = [torch.bincount(mask.flatten(), minlength=IGNORED + 1) for mask in masks]
    return np.asarray((torch.stack(counts)[:, :IGNORED] > 0).long().numpy())
