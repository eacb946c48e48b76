from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from nas import pareto

Distance = Callable[[np.ndarray, np.ndarray], float]


def brute_force(costs: np.ndarray) -> np.ndarray:
    keep = []
    for row, cost in enumerate(costs):
        dominated = any((other <= cost).all() and (other < cost).any() for other in costs)
        repeated = any((costs[before] == cost).all() for before in range(row))
        keep.append(not dominated and not repeated)
    return np.array(keep, dtype=np.bool_)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([[1, 2], [2, 1], [2, 2], [1.5, 1.5]], [True, True, False, True]),
        ([[1, 1], [1, 1], [1, 1]], [True, False, False]),
        ([[1, 2], [1, 1]], [False, True]),
        ([[0, 5], [0, 5], [5, 0], [5, 0]], [True, False, True, False]),
        ([[3.0]], [True]),
        ([[3.0], [1.0], [2.0], [1.0]], [False, True, False, False]),
        ([[1, 2, 3], [3, 2, 1], [2, 2, 2], [3, 3, 3]], [True, True, True, False]),
        ([[-1, 0], [0, -1], [0, 0]], [True, True, False]),
    ],
)
def test_non_dominated_by_hand(costs: list[list[float]], expected: list[bool]) -> None:
    assert pareto.non_dominated(np.array(costs, dtype=np.float64)).tolist() == expected


@pytest.mark.parametrize("seed", range(10))
def test_non_dominated_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 5, size=(60, rng.integers(1, 6))).astype(np.float64)
    assert np.array_equal(pareto.non_dominated(costs), brute_force(costs))


@pytest.mark.parametrize("num_objectives", [1, 2, 12])
def test_no_rows_no_front(num_objectives: int) -> None:
    nothing = np.zeros((0, num_objectives))
    assert pareto.non_dominated(nothing).shape == (0,)
    assert pareto.hypervolume(nothing, np.ones(num_objectives)) == 0.0


def test_nan_is_refused() -> None:
    costs = np.array([[0.0, 1.0], [np.nan, 0.0]])
    with pytest.raises(ValueError, match="NaN"):
        pareto.non_dominated(costs)
    with pytest.raises(ValueError, match="NaN"):
        pareto.hypervolume(costs, np.ones(2))


@pytest.mark.parametrize(
    ("costs", "reference", "expected"),
    [
        ([[0.0, 0.0]], [1.0, 1.0], 1.0),
        ([[0.5, 0.25]], [1.0, 1.0], 0.375),
        ([[0.0, 0.5], [0.5, 0.0]], [1.0, 1.0], 0.75),
        ([[0.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]], [1.0, 1.0], 0.75),
        ([[1.0, 0.0]], [1.0, 1.0], 0.0),
        ([[2.0, -1.0]], [1.0, 1.0], 0.0),
        ([[0.25]], [1.0], 0.75),
        ([[0.0, 0.0, 0.5], [0.0, 0.5, 0.0], [0.5, 0.0, 0.0]], [1.0, 1.0, 1.0], 0.875),
    ],
)
def test_hypervolume_by_hand(costs: list[list[float]], reference: list[float], expected: float) -> None:
    assert pareto.hypervolume(np.array(costs), np.array(reference)) == expected


@pytest.mark.parametrize("num_objectives", [6, 8, 12, 20])
def test_hypervolume_of_one_point_is_a_product_in_any_number_of_objectives(num_objectives: int) -> None:
    rng = np.random.default_rng(num_objectives)
    for room in rng.uniform(0.02, 1.1, size=(20, num_objectives)):
        volume = pareto.hypervolume(1.1 - room[None], np.full(num_objectives, 1.1))
        assert volume == pytest.approx(room.prod(), rel=1e-9)


def by_inclusion_and_exclusion(costs: np.ndarray, reference: np.ndarray) -> float:
    return sum(
        (-1) ** (size + 1) * float((reference - np.max(rows, axis=0)).prod())
        for size in range(1, len(costs) + 1)
        for rows in itertools.combinations(costs, size)
    )


@pytest.mark.parametrize("num_objectives", [6, 12])
def test_hypervolume_of_few_points_is_exact_in_many_objectives(num_objectives: int) -> None:
    rng = np.random.default_rng(0)
    reference = np.full(num_objectives, 1.1)
    costs = rng.random((9, num_objectives))
    dominated = np.minimum(np.repeat(costs, 3, axis=0) + 0.05, 1.0)
    expected = by_inclusion_and_exclusion(costs, reference)
    volume = pareto.hypervolume(np.concatenate([dominated, costs, costs]), reference)
    assert volume == pytest.approx(expected, rel=1e-9)


def by_karp_luby(costs: np.ndarray, reference: np.ndarray, rng: np.random.Generator) -> float:
    """Draw in the rows' boxes by size; a draw counts one box of those that hold it (after Karp and Luby)."""
    room = reference - costs
    sizes = room.prod(axis=1)
    rows = rng.choice(len(costs), size=20_000, p=sizes / sizes.sum())
    draws = costs[rows] + room[rows] * rng.random((len(rows), costs.shape[1]))
    held = sum((cost <= draws).all(axis=1).astype(np.float64) for cost in costs)
    return float(sizes.sum() * np.mean(1 / held))


@pytest.mark.parametrize("num_objectives", [6, 8, 12])
@pytest.mark.parametrize("num_points", [13, 30, 100])
def test_hypervolume_of_many_points_is_good_to_a_few_percent(num_objectives: int, num_points: int) -> None:
    rng = np.random.default_rng(0)
    reference = np.full(num_objectives, 1.1)
    for _ in range(4):
        costs = rng.random((num_points, num_objectives))
        expected = by_karp_luby(costs, reference, rng)
        assert pareto.hypervolume(costs, reference) == pytest.approx(expected, rel=0.04)


def test_hypervolume_never_shrinks_with_another_point() -> None:
    rng = np.random.default_rng(0)
    costs, reference = rng.random((30, 3)), np.full(3, 1.1)
    volumes = [pareto.hypervolume(costs[:count], reference) for count in range(31)]
    assert all(after >= before for before, after in itertools.pairwise(volumes))


def test_spread_subset_keeps_the_first_and_the_ends() -> None:
    costs = np.array([[0.0, 1.0], [0.01, 0.99], [0.02, 0.98], [0.5, 0.5], [1.0, 0.0]])
    chosen = pareto.spread_subset(costs, 3, np.full(2, 1.1), 0)
    assert chosen[0] == 0
    assert set(chosen[1:]) == {3, 4}


def test_spread_subset_of_more_than_there_are_is_all_of_them() -> None:
    costs = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert sorted(pareto.spread_subset(costs, 9, np.full(2, 1.1), 1)) == [0, 1]


REFERENCE = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0]])


def test_igd_plus_by_hand() -> None:
    """(4, 2) is 2 and 0 worse than (2, 2), 0 and 1 worse than (4, 1), 3 and 0 worse than (1, 4)."""
    assert pareto.igd_plus(np.array([[4.0, 2.0]]), REFERENCE) == pytest.approx((3 + 2 + 1) / 3)


def test_adrs_by_hand() -> None:
    """(4, 2) is 300 % worse than (1, 4), 100 % worse than (2, 2) and (4, 1)."""
    assert pareto.adrs(np.array([[4.0, 2.0]]), REFERENCE) == pytest.approx((3 + 1 + 1) / 3)


def test_adrs_takes_the_nearest_row_and_its_worst_column() -> None:
    found = np.array([[2.2, 3.0], [3.0, 2.1]])
    assert pareto.adrs(found, np.array([[2.0, 2.0]])) == pytest.approx(0.5)


def brute_adrs(found: np.ndarray, front: np.ndarray) -> float:
    return float(
        np.mean(
            [min(max(max(0.0, (q - r) / r) for q, r in zip(f, t, strict=True)) for f in found) for t in front]
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_adrs_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, front = rng.uniform(0.5, 2, (17, 3)), rng.uniform(0.5, 2, (9, 3))
    assert pareto.adrs(found, front) == pytest.approx(brute_adrs(found, front))


@pytest.mark.parametrize("distance", [pareto.igd_plus, pareto.adrs])
def test_distance_to_a_front_is_0_once_it_is_found(distance: Distance) -> None:
    found = np.vstack([REFERENCE, [[9.0, 9.0]], REFERENCE - [0.5, 0.0]])
    assert distance(found, REFERENCE) == 0.0
    assert distance(REFERENCE[:2], REFERENCE) > 0.0


@pytest.mark.parametrize("distance", [pareto.igd_plus, pareto.adrs])
def test_distance_to_a_front_never_grows_with_another_point(distance: Distance) -> None:
    rng = np.random.default_rng(0)
    found = rng.uniform(1, 9, (30, 2))
    distances = [distance(found[:count], REFERENCE) for count in range(31)]
    assert distances[0] == np.inf
    assert all(after <= before for before, after in itertools.pairwise(distances))


@pytest.mark.parametrize("distance", [pareto.igd_plus, pareto.adrs])
def test_distance_to_an_empty_or_undefined_front_is_refused(distance: Distance) -> None:
    with pytest.raises(ValueError, match="empty"):
        distance(REFERENCE, REFERENCE[:0])
    with pytest.raises(ValueError, match="NaN"):
        distance(REFERENCE, np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match="NaN"):
        distance(np.array([[np.nan, 1.0]]), REFERENCE)


@pytest.mark.parametrize("cost", [0.0, -0.5])
def test_adrs_needs_a_positive_reference_and_says_what_to_do(cost: float) -> None:
    with pytest.raises(ValueError, match="needs positive costs; compare 1 - rate"):
        pareto.adrs(REFERENCE, np.array([[1.0, cost]]))
    assert pareto.adrs(np.array([[1.0, cost]]), REFERENCE) == 0.0


def noisy_rows(seed: int, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return costs in which equal ones are frequent, and spreads, of which some are 0."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 5, size=(40, 3)).astype(np.float64)
    spreads = rng.choice([0.0, 0.1, 1.0], size=(40, 3)) * (rng.random(3) < 0.7)
    return costs, np.zeros_like(costs) if exact else spreads


SEEDS = pytest.mark.parametrize("seed", range(8))


@pytest.mark.parametrize(
    ("costs", "spreads", "expected"),
    [
        ([[1, 1.00], [1, 1.05]], 0.05, [True, True]),  # 0.05 of hypot(0.05, 0.05): within
        ([[1, 1.00], [1, 1.20]], 0.05, [True, False]),
        ([[1, 1.00], [2, 1.05]], 0.05, [True, True]),  # surely cheaper, faster by chance perhaps
        ([[1, 1.05], [2, 1.00]], 0.05, [True, True]),
        ([[1, 1.00], [1, 1.00]], 0.05, [True, True]),
        ([[1, 1.00], [1, 1.00]], 0.00, [True, False]),
        ([[1, 1.00], [1, 1.05], [1, 1.20]], 0.05, [True, True, False]),
    ],
)
def test_within_the_noise_neither_dominates(
    costs: list[list[float]], spreads: float, expected: list[bool]
) -> None:
    noise = np.array([[0.0, spreads]] * len(costs))
    assert pareto.non_dominated_beyond_noise(np.array(costs, dtype=np.float64), noise).tolist() == expected


@SEEDS
def test_without_noise_it_is_the_ordinary_front(seed: int) -> None:
    costs, none = noisy_rows(seed, exact=True)
    assert np.array_equal(pareto.non_dominated_beyond_noise(costs, none), pareto.non_dominated(costs))
    hardly = np.full_like(costs, 1e-9) * (np.arange(len(costs)) == 0)[:, None]  # the general way, too
    first = pareto.non_dominated_beyond_noise(costs[1:], hardly[1:])
    assert np.array_equal(first, pareto.non_dominated(costs[1:]))


@SEEDS
def test_the_ordinary_front_is_part_of_it(seed: int) -> None:
    costs, spreads = noisy_rows(seed)
    ordinary = pareto.non_dominated(costs)
    assert pareto.non_dominated_beyond_noise(costs, spreads)[ordinary].all()


@SEEDS
def test_more_confidence_leaves_more_on_the_front(seed: int) -> None:
    costs, spreads = noisy_rows(seed)
    loose, strict = (pareto.non_dominated_beyond_noise(costs, spreads, c) for c in (0.5, 0.999))
    assert (strict | ~loose).all()


@SEEDS
def test_dominance_beyond_noise_is_transitive_and_never_mutual(seed: int) -> None:
    costs, spreads = noisy_rows(seed)
    beats = np.array([pareto.dominators(costs, spreads, row) for row in range(len(costs))]).T
    assert not (beats & beats.T).any()
    assert not ((beats.astype(int) @ beats.astype(int) > 0) & ~beats).any()


@SEEDS
def test_units_and_order_change_no_front(seed: int) -> None:
    costs, spreads = noisy_rows(seed)
    spreads = np.maximum(
        spreads, 0.01
    )  # of equal exact rows the first alone stays, which depends on the order
    front = pareto.non_dominated_beyond_noise(costs, spreads)
    units = np.array([1024.0, 0.125, 2.0])
    assert np.array_equal(pareto.non_dominated_beyond_noise(costs * units, spreads * units), front)
    order = np.random.default_rng(seed).permutation(len(costs))
    assert np.array_equal(pareto.non_dominated_beyond_noise(costs[order], spreads[order]), front[order])


@SEEDS
def test_of_two_that_are_tied_neither_dominates_and_noise_hides_which(seed: int) -> None:
    costs, spreads = noisy_rows(seed)
    ties = pareto.ties_within_noise(costs, spreads)
    assert np.array_equal(ties, ties.transpose(1, 0, 2))
    beats = np.array([pareto.dominators(costs, spreads, row) for row in range(len(costs))]).T
    assert not (ties.any(axis=2) & (beats | beats.T)).any()
    for one, other, column in np.argwhere(ties)[:200]:
        assert spreads[[one, other], column].any()


@pytest.mark.parametrize(
    ("costs", "columns"),
    [
        ([[1, 1.00, 1], [2, 1.05, 2]], [1]),
        ([[1, 1.05, 1], [2, 1.00, 2]], [1]),
        ([[1, 1.00, 2], [2, 1.05, 1]], []),  # an exact column speaks for either
        ([[1, 1.00, 1], [2, 1.50, 2]], []),
        ([[1, 1.50, 1], [2, 1.00, 2]], []),
    ],
)
def test_rows_are_tied_where_one_would_dominate_the_other(
    costs: list[list[float]], columns: list[int]
) -> None:
    spreads = np.array([[0.0, 0.05, 0.0]] * 2)
    ties = pareto.ties_within_noise(np.array(costs, dtype=np.float64), spreads)
    assert np.flatnonzero(ties[0, 1]).tolist() == columns


def test_noise_of_nothing_and_undefined_noise() -> None:
    nothing = np.zeros((0, 2))
    assert pareto.non_dominated_beyond_noise(nothing, nothing).shape == (0,)
    assert pareto.ties_within_noise(nothing, nothing).shape == (0, 0, 2)
    with pytest.raises(ValueError, match="NaN"):
        pareto.non_dominated_beyond_noise(np.zeros((2, 2)), np.full((2, 2), np.nan))


def test_limits_and_noise_go_together() -> None:
    costs, spreads = np.array([[1, 1.0], [2, 1.05], [0, 0.0]]), np.array([[0.0, 0.05]] * 3)
    excess = np.array([0.0, 0.0, 1.0])
    assert pareto.find_constrained_front(costs, excess).tolist() == [True, False, False]
    assert pareto.find_constrained_front(costs, excess, spreads).tolist() == [True, True, False]
