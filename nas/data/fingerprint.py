"""What tells data apart: a fingerprint of all of it, and the items that two splits share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from nas.errors import DataError
from nas.inputs import as_tuple
from nas.space import IntArray
from nas.splits import Split

logger = logging.getLogger(__name__)

_ROWS = 1024
"""Items at a time, so that a split that is mapped from a file is never in memory as a whole."""


def fingerprint(
    name: str,
    splits: Sequence[Split],
    *,
    official_test: bool,
    official_search: bool = False,
    vocabulary: Sequence[str] = (),
) -> str:
    """Return what changes when any input or target of any part does, or the meaning of a token id.

    The values are read once, and compared on the way: a warning tells how many test items are in train or search
    too, and how many of an official search part in train.

    Args:
        name: Name of the data set, for messages.
        splits: Train, search and test.
        official_test: Whether the test items are a part of their own, and no share of one data set.
        official_search: Whether the search items are such a part.
        vocabulary: By token id, for text.

    Raises:
        DataError: more than half of the items of an official part are in another split too.
    """
    hasher = hashlib.sha256("\n".join(vocabulary).encode())
    items = []
    for split in splits:
        forms = [part for tensor in as_tuple(split.inputs) for part in (tuple(tensor.shape), tensor.dtype)]
        hasher.update(repr((*forms, split.mean, split.std)).encode())
        found = np.zeros(len(split), dtype=np.int64)
        for tensor in as_tuple(split.inputs):
            rows = (row for chunk in tensor.split(_ROWS) for row in _hash_items(chunk, hasher))
            found = 31 * found + np.fromiter(rows, dtype=np.int64, count=len(split))
        for chunk in split.targets.split(_ROWS):
            hasher.update(chunk.contiguous().numpy().data)
        items.append(found)
    train, search, test = items
    if official_search:
        _check_unseen(f"search split of {name}", search, train, "train", official=True)
    _check_unseen(
        f"test split of {name}",
        test,
        np.concatenate([train, search]),
        "train or search",
        official=official_test,
    )
    return hasher.hexdigest()[:16]


def _hash_items(chunk: Tensor, hasher: hashlib._Hash) -> list[int]:
    """Add some items to a digest, and return a number for each."""
    values = chunk.contiguous().numpy()
    hasher.update(values.data)
    return [hash(row.tobytes()) for row in values]


def _check_unseen(split: str, items: IntArray, seen: IntArray, where: str, *, official: bool) -> None:
    shared = int(np.isin(items, seen).sum())
    what = f"{shared} of {len(items)} items of the {split} are in {where} too"
    if official and 2 * shared > len(items):
        raise DataError(
            f"{what}, so it would not tell how networks do on new data: name another part, or remove the copies."
        )
    if shared:
        logger.warning("%s, and count in the quality that is measured on it", what)
