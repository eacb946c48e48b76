from __future__ import annotations

import numpy as np
import pytest

from nas.agreement import find_swapped_pairs, kendall_tau, rank_agreement, spearman_rho


def test_equal_orders_agree_fully_and_opposite_ones_not_at_all() -> None:
    values = np.arange(20.0)
    same, opposite = rank_agreement(values, values**3), rank_agreement(values, -values)
    assert same is not None
    assert opposite is not None
    assert same.count == 20
    assert [same.tau.value, same.tau.low, same.spearman.value] == pytest.approx([1, 1, 1])
    assert [opposite.tau.value, opposite.tau.high, opposite.spearman.value] == pytest.approx([-1, -1, -1])
    assert not same.doubtful
    assert opposite.doubtful


def test_the_interval_holds_the_value_narrows_with_more_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (8, 80):
        before = rng.normal(size=count)
        found = rank_agreement(before, before + rng.normal(scale=0.5, size=count))
        assert found is not None
        assert found.tau.low <= found.tau.value <= found.tau.high
        assert found.spearman.low <= found.spearman.value <= found.spearman.high
        widths.append(found.tau.high - found.tau.low)
    assert widths[1] < widths[0]
    again = rank_agreement(before, before)
    assert again == rank_agreement(before, before)


def test_unrelated_rankings_are_doubtful() -> None:
    rng = np.random.default_rng(1)
    found = rank_agreement(rng.normal(size=10), rng.normal(size=10))
    assert found is not None
    assert found.doubtful


@pytest.mark.parametrize(("count", "doubtful"), [(2, True), (3, True), (4, True), (5, False)])
def test_a_handful_that_agrees_may_do_so_by_chance(count: int, doubtful: bool) -> None:
    found = rank_agreement(np.arange(count), np.arange(count))
    assert found is not None
    assert found.doubtful == found.few == doubtful


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_what_can_not_be_ranked_has_no_agreement(before: list[float], after: list[float]) -> None:
    assert rank_agreement(before, after) is None


def test_swaps_are_pairs_in_opposite_order_and_ties_are_none() -> None:
    assert find_swapped_pairs([1, 2, 3, 3], [2, 1, 3, 4]) == [(0, 1)]
    assert find_swapped_pairs([1, 2], [1, 1]) == []


@pytest.mark.parametrize("count", [3, 17])
@pytest.mark.parametrize("levels", [2, 1000])
def test_the_intervals_are_those_of_scipys_statistics_one_sample_at_a_time(count: int, levels: int) -> None:
    rng = np.random.default_rng(count * levels)
    x, y = (np.concatenate([[0, 1], rng.integers(levels, size=count - 2)]) / 7 for _ in range(2))
    found = rank_agreement(x, y)
    assert found is not None
    samples = np.random.default_rng(0).integers(count, size=(1000, count))
    varied = [rows for rows in samples if np.ptp(x[rows]) > 0 and np.ptp(y[rows]) > 0]
    for interval, statistic in ((found.tau, kendall_tau), (found.spearman, spearman_rho)):
        low, high = np.percentile([statistic(x[rows], y[rows]) for rows in varied], [2.5, 97.5])
        assert (interval.value, interval.low, interval.high) == (statistic(x, y), low, high)
