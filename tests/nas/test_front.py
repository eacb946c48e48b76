from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas.front import best_within, compare_fronts, find_upgrades, is_noise, knees, sets_for_devices, verdict
from nas.objective import Measurement, Objective

ACCURACY = Objective("accuracy", "", "maximize")
LATENCY = Objective("latency_ms", "ms", "minimize")
NONE = np.inf


def costs(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float64)


# accuracy (as a cost), latency, size
MODELS = costs((-0.90, 0.2, 10), (-0.93, 0.4, 30), (-0.95, 0.5, 20), (-0.97, 0.9, 90), (-0.80, 0.8, 95))


def within(latency: float = NONE, size: float = NONE, accuracy: float = NONE) -> np.ndarray:
    return np.array([accuracy, latency, size])


def test_without_a_budget_the_best_of_all_is_named() -> None:
    assert best_within(MODELS, within(), goal=0) == 3


@pytest.mark.parametrize(
    ("limits", "row"),
    [
        (within(latency=0.45), 1),
        (within(latency=0.4), 1),  # a budget is met by what costs exactly that
        (within(latency=0.45, size=29), 0),
        (within(accuracy=-0.92), 3),
    ],
)
def test_the_best_model_within_all_budgets(limits: np.ndarray, row: int) -> None:
    assert best_within(MODELS, limits, goal=0) == row


def test_any_objective_can_be_the_goal() -> None:
    assert best_within(MODELS, within(accuracy=-0.94), goal=1) == 2


def test_of_equally_good_models_the_one_that_is_cheaper_otherwise() -> None:
    assert best_within(costs((-0.9, 0.5, 10), (-0.9, 0.3, 10), (-0.9, 0.4, 10)), within(), goal=0) == 1


def test_nothing_fits() -> None:
    assert best_within(MODELS, within(latency=0.1), goal=0) is None
    assert best_within(MODELS[:0], within(), goal=0) is None


def test_the_next_step_says_what_it_costs_and_buys() -> None:
    (step,) = find_upgrades(MODELS, within(latency=0.4), goal=0)
    assert (step.row, step.column) == (2, 1)
    assert step.extra == pytest.approx(0.1)
    assert step.gain == pytest.approx(0.02)


def test_each_budget_is_loosened_alone() -> None:
    by_column = {step.column: step for step in find_upgrades(MODELS, within(latency=0.45, size=20), goal=0)}
    assert by_column[1].row == 2
    assert by_column[2].row == 1


def test_a_step_is_the_smallest_one_and_reaches_a_better_model() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        table = random.random((30, 3))
        limits = np.array([NONE, *random.random(2)])
        best = best_within(table, limits, goal=0)
        for step in find_upgrades(table, limits, goal=0):
            looser = limits.copy()
            looser[step.column] += step.extra + 1e-12
            assert best_within(table, looser, goal=0) == step.row
            looser[step.column] -= 1e-9
            assert best_within(table, looser, goal=0) == best


def test_where_nothing_fits_the_step_says_what_would() -> None:
    (step,) = find_upgrades(MODELS, within(latency=0.1), goal=0)
    assert (step.row, step.gain) == (0, None)


def test_no_step_from_the_best_of_all() -> None:
    assert find_upgrades(MODELS, within(latency=0.9), goal=0) == []


def test_a_knee_is_where_the_front_bends() -> None:
    bent = costs((0, 1), (0.05, 0.6), (0.1, 0.1), (0.5, 0.06), (1, 0), (0.9, 0.9))
    assert knees(bent) == [2]


def test_knees_do_not_depend_on_units() -> None:
    bent = costs((0, 1), (0.05, 0.6), (0.1, 0.1), (0.5, 0.06), (1, 0))
    assert knees(bent * [1e6, 1e-3] + [5, -2]) == knees(bent)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_models_make_no_knee(count: int) -> None:
    assert knees(costs((0, 1), (1, 0))[:count].reshape(-1, 2)) == []


def test_a_straight_front_has_no_knee() -> None:
    steps = np.linspace(0, 1, 11)
    assert knees(np.column_stack([steps, 1 - steps])) == []


def test_a_front_that_is_better_everywhere_covers_the_other() -> None:
    better, worse = costs((0, 1), (1, 0)), costs((0.5, 1.5), (1.5, 0.5))
    compared = compare_fronts(better, worse)
    assert compared.covered == (0.0, 1.0)
    assert compared.hypervolumes[0] > compared.hypervolumes[1]


def test_comparing_is_symmetric_and_blind_to_dominated_models() -> None:
    first, second = costs((0, 2), (1, 1), (3, 0)), costs((0.5, 0.5), (4, 4))
    there, back = compare_fronts(first, second), compare_fronts(second, first)
    assert there.hypervolumes == back.hypervolumes[::-1]
    assert there.covered == back.covered[::-1] == (1 / 3, 0.0)
    assert compare_fronts(first, second[:1]) == there


def test_a_front_equals_itself() -> None:
    compared = compare_fronts(MODELS, MODELS)
    assert compared.hypervolumes[0] == compared.hypervolumes[1]
    assert compared.covered == (1.0, 1.0)


def measured(value: float, spread: float) -> Measurement:
    return Measurement(value, spread, "", "", 1)


@pytest.mark.parametrize(
    ("objective", "before", "after", "said"),
    [
        (ACCURACY, (0.90, 0.001), (0.95, 0.001), "better"),
        (LATENCY, (0.90, 0.001), (0.95, 0.001), "worse"),
        (ACCURACY, (0.90, 0.03), (0.95, 0.0), "within noise"),
        (LATENCY, (5.0, 0.0), (5.0, 0.0), "equal"),
    ],
)
def test_a_verdict_knows_direction_and_noise(
    objective: Objective, before: tuple[float, float], after: tuple[float, float], said: str
) -> None:
    assert verdict(objective, measured(*before), measured(*after)) == said


def test_counted_values_have_no_noise() -> None:
    assert not is_noise(1, 0, 0)


@pytest.mark.parametrize(
    ("allowed", "rows", "chosen", "lost"),
    [
        (5, (1,), (1, 1, 1), (5, 2, 0)),
        (4, (0, 1), (0, 1, 1), (0, 2, 0)),
        (1, (0, 1, 2), (0, 2, 1), (0, 0, 0)),
    ],
)
def test_the_smallest_set_that_keeps_every_device_within_a_loss(
    allowed: float, rows: tuple[int, ...], chosen: tuple[int, ...], lost: tuple[float, ...]
) -> None:
    """The first device can run all, the second all but the best, the third one alone."""
    quality = np.array([1.0, 6.0, 4.0, 7.0])
    fits = np.array([[True, False, False], [True, True, True], [True, True, False], [True, True, True]])
    found = sets_for_devices(quality, fits, allowed)
    assert [len(one.rows) for one in found] == list(range(1, len(rows) + 1))
    assert (found[-1].rows, found[-1].chosen, found[-1].lost) == (rows, chosen, lost)


def test_until_a_set_serves_every_device_it_serves_the_most() -> None:
    fits = np.array([[True, True, False, False], [False, False, True, False], [False, False, False, True]])
    found = sets_for_devices(np.array([3.0, 2.0, 1.0]), fits, 0.0)
    assert [one.rows for one in found] == [(0,), (0, 1), (0, 1, 2)]
    assert [sum(np.isinf(one.lost)) for one in found] == [2, 1, 0]


@pytest.mark.parametrize("seed", range(20))
def test_no_smaller_set_does_and_none_of_its_size_is_better_on_average(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality = rng.integers(0, 30, 9).astype(np.float64)
    fits = rng.random((9, 4)) < 0.5
    fits[rng.integers(9), :] = True
    allowed = float(rng.integers(0, 8))
    own = np.where(fits, quality[:, None], np.inf)

    def losses(rows: tuple[int, ...]) -> np.ndarray:
        return np.asarray(own[list(rows)].min(axis=0) - own.min(axis=0))

    found = sets_for_devices(quality, fits, allowed)[-1]
    assert found.is_exact
    assert losses(found.rows).tolist() == list(found.lost)
    assert max(found.lost) <= allowed
    for size in range(1, len(found.rows)):
        assert all(losses(rows).max() > allowed for rows in itertools.combinations(range(9), size))
    good = [losses(rows) for rows in itertools.combinations(range(9), len(found.rows))]
    least = min(one.mean() for one in good if one.max() <= allowed)
    assert np.mean(found.lost) == pytest.approx(least)


def test_too_many_sets_are_built_up_model_by_model_and_said_so() -> None:
    """Each of 40 devices can run a model of its own alone: 40 models, and most numbers of sets are beyond counting."""
    found = sets_for_devices(np.arange(40.0), np.eye(40, dtype=np.bool_), 0.0)
    assert found[-1].rows == tuple(range(40))
    assert found[0].is_exact
    assert not found[20].is_exact
