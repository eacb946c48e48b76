"""Which variants are shipped, and which are on the final front."""

from __future__ import annotations

import numpy as np
import pytest

from nas.runner.final_front import _fronts, _worse_throughout


@pytest.mark.parametrize(
    ("variant", "parent", "is_worse"),
    [
        ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), True),
        ((2.0, 1.0, 2.0), (1.0, 1.0, 1.0), True),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), False),
        ((2.0, 2.0, 0.9), (1.0, 1.0, 1.0), False),
        ((0.9, 1.0, 1.0), (1.0, 1.0, 1.0), False),
    ],
)
def test_worse_is_in_every_column_that_differs(
    variant: tuple[float, ...], parent: tuple[float, ...], is_worse: bool
) -> None:
    assert _worse_throughout(np.array([variant]), np.array([parent])) == [is_worse]


def test_the_front_is_of_its_judges_and_others_are_set_beside_them() -> None:
    costs = np.array([[1.0, 3.0], [3.0, 1.0], [0.0, 0.0], [2.0, 2.0], [3.0, 3.0]])
    assert _fronts(costs, np.zeros(5), np.array([0, 1])) == [True, True, True, True, False]
