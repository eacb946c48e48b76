"""Which variants are shipped, on the final front, and tied."""

from __future__ import annotations

import numpy as np
import pytest

from nas.runner.placing import place_variants


@pytest.mark.parametrize(
    ("variant", "is_shipped"),
    [
        ((2.0, 2.0, 2.0), False),
        ((2.0, 1.0, 2.0), False),
        ((1.0, 1.0, 1.0), True),
        ((2.0, 2.0, 0.9), True),
        ((0.9, 1.0, 1.0), True),
    ],
)
def test_what_is_worse_in_every_column_that_differs_is_not_shipped(
    variant: tuple[float, ...], is_shipped: bool
) -> None:
    costs = np.array([(1.0, 1.0, 1.0), variant])
    places = place_variants(costs, np.zeros((2, 3)), np.zeros(2), np.array([0, 0]), 2)
    assert places.shipped.tolist() == [True, is_shipped]


@pytest.mark.parametrize(("spread", "is_shipped"), [(0.0, False), (0.01, False), (0.1, True)])
def test_what_may_be_faster_than_its_parent_is_shipped(spread: float, is_shipped: bool) -> None:
    costs, spreads = np.array([[1.0, 1.0], [2.0, 1.1]]), np.array([[0.0, spread]] * 2)
    places = place_variants(costs, spreads, np.zeros(2), np.array([0, 0]), 2)
    assert places.shipped.tolist() == [True, is_shipped]
    assert places.tied[0, 1].tolist() == [False, is_shipped]


def test_the_front_is_of_the_winners_and_others_are_set_beside_them() -> None:
    costs = np.array([[1.0, 3.0], [3.0, 1.0], [0.0, 0.0], [2.0, 2.0], [3.0, 3.0]])
    places = place_variants(costs, np.zeros((5, 2)), np.zeros(5), np.arange(5), 2)
    assert places.on_front.tolist() == [True, True, True, True, False]


def test_only_members_of_the_front_are_tied() -> None:
    costs = np.array([[0.1, 1.00], [0.2, 1.01], [0.3, 1.02], [0.3, 2.0]])
    spreads = np.array([[0.0, 0.05]] * 4)
    places = place_variants(costs, spreads, np.zeros(4), np.arange(4), 2)
    assert places.on_front.tolist() == [True, True, True, False]
    assert np.argwhere(places.tied).tolist() == [[0, 1, 1], [1, 0, 1]]
