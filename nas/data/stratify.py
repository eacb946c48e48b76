"""Dividing items that hold several classes each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.space import IntArray


def share_out(holds: IntArray, counts: Sequence[int], seed: int) -> IntArray:
    """Return which part each item goes to, so that every part has its share of every class as far as possible.

    Iterative stratification (Sechidis 2011, algorithm 1): the rarest class is divided first, each of its items going
    to the part that lacks most of it. A part that has none of the class yet comes before all others, which
    the paper leaves to the shares: so classes of few items are in as many parts as they can be.

    Args:
        holds: ``(n, num_classes)``: 1 where an item holds a class, 0 elsewhere. An item may hold none.
        counts: Items of each part; their sum is n.
        seed: Of the order in which items are taken.

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
