from __future__ import annotations

import numpy as np
import pytest

from nas.data.stratify import share_out

SHARES = np.array([1, 0.7, 0.3, 0.05, 0.01])
HOLDS = (np.random.default_rng(0).random((1000, 5)) < SHARES).astype(np.int64)


def test_parts_have_their_sizes_and_every_class_in_proportion() -> None:
    counts = [600, 200, 200]
    parts = share_out(HOLDS, counts, seed=0)
    assert np.bincount(parts).tolist() == counts
    for part, count in enumerate(counts):
        expected = HOLDS.sum(0) * count / 1000
        assert np.abs(HOLDS[parts == part].sum(0) - expected).max() < 10


def test_the_seed_decides() -> None:
    first, same, other = (share_out(HOLDS, (500, 500), seed) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_as_many_items_as_parts_is_in_each(seed: int) -> None:
    holds = np.zeros((30, 4), dtype=np.int64)
    holds[:, 0] = 1
    for number, first in enumerate((0, 2, 4), start=1):  # one item holds two rare classes
        holds[first : first + 3, number] = 1
    parts = share_out(holds, (24, 3, 3), seed)
    for number in range(4):
        assert set(parts[holds[:, number] > 0]) == {0, 1, 2}


def test_items_may_hold_nothing_and_parts_be_empty() -> None:
    assert share_out(np.zeros((4, 2), dtype=np.int64), (3, 0, 1), seed=0).tolist().count(2) == 1
    assert share_out(np.zeros((0, 2), dtype=np.int64), (0, 0), seed=0).tolist() == []
