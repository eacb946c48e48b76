"""What tells data apart: a fingerprint of all of it, and the items that two splits share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np

from nas.errors import DataError
from nas.protocols import Split
from nas.space import IntArray

logger = logging.getLogger(__name__)

_ROWS = 1024


def fingerprint(
    name: str, splits: Sequence[Split], *, official_test: bool, vocabulary: Sequence[str] = ()
) -> str:
    """Return what changes when any value or label of any part does, or the meaning of a token id.

    The values are read once, and compared on the way: a warning tells how many test items are in train or search
    too.

    Args:
        name: Of the data set, for messages.
        splits: Train, search and test.
        official_test: Whether the test items are a part of their own, and no share of one data set.
        vocabulary: By token id, for text.

    Raises:
        DataError: more than half of the items of an official test part are in train or search too.
    """
    hasher = hashlib.sha256("\n".join(vocabulary).encode())
    items = []
    for split in splits:
        hasher.update(repr((tuple(split.images.shape), split.images.dtype, split.mean, split.std)).encode())
        found = []
        for chunk in split.images.split(_ROWS):
            values = chunk.contiguous().numpy()
            hasher.update(values.data)
            found += [hash(row.tobytes()) for row in values]
        hasher.update(split.labels.numpy().tobytes())
        items.append(np.array(found, dtype=np.int64))
    _check_unseen(name, items, official_test)
    return hasher.hexdigest()[:16]


def _check_unseen(name: str, items: Sequence[IntArray], official_test: bool) -> None:
    train, search, test = items
    shared = int(np.isin(test, np.concatenate([train, search])).sum())
    what = f"{shared} of {len(test)} items of the test split of {name} are in train or search too"
    if official_test and 2 * shared > len(test):
        raise DataError(
            f"{what}, so it would not tell how winners do on new data: name another test part, or remove the copies."
        )
    if shared:
        logger.warning("%s, and count in the winners' test quality", what)
