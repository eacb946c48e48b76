"""Dividing items so that every part has its share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import train_test_split

from nas.space import IntArray


def three_shares(labels: IntArray, search_share: float, test_share: float, seed: int) -> list[IntArray]:
    """Return the rows of train, search and test, each class in proportion in each of them.

    Raises:
        ValueError: a class is too rare to be in all three.
    """
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=test_share, random_state=seed, stratify=labels
    )
    train, search = train_test_split(
        rest, test_size=search_share / (1 - test_share), random_state=seed, stratify=labels[rest]
    )
    return [train, search, test]


def share_out(holds: IntArray, counts: Sequence[int], seed: int) -> IntArray:
    """Return which part each item goes to, so that every part has its share of every class as far as possible.

    Iterative stratification (Sechidis 2011, algorithm 1): the rarest class is divided first, each of its items going
    to the part that lacks most of it. A part that has none of the class yet comes before all others, which
    the paper leaves to the shares: so classes of few items are in as many parts as they can be.

    Args:
        holds: ``(n, num_classes)``: 1 where an item holds a class, 0 elsewhere. An item may hold none.
        counts: Items of each part; their sum is n.
        seed: Seed of the order in which items are taken.

    Returns:
        ``(n,)`` numbers of parts, each as often as ``counts`` says.
    """
    order = np.random.default_rng(seed).permutation(len(holds))
    # One class more, which all items hold, and which is divided last: the items without any other.
    known = np.column_stack([holds[order], np.ones(len(holds), dtype=np.int64)]) > 0
    room = np.array(counts, dtype=np.int64)
    missing = np.outer(room / max(1, len(known)), known.sum(0))
    has = np.zeros(missing.shape, dtype=bool)
    parts = np.full(len(known), -1, dtype=np.int64)
    while (waiting := np.flatnonzero(parts < 0)).size:
        left = known[waiting].sum(0)
        rarest = np.where(left > 0, left, len(known) + 1).argmin()
        for item in waiting[known[waiting, rarest]].tolist():
            ranks = np.lexsort((room, missing[:, rarest], ~has[:, rarest], room > 0))
            part = ranks[-1]
            parts[item] = part
            room[part] -= 1
            missing[part] -= known[item]
            has[part] |= known[item]
    found = np.empty_like(parts)
    found[order] = parts
    return found
