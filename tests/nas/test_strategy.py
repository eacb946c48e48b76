from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import grid_problem

FREE = dataclasses.replace(grid_problem(num_choices=4, num_options=5), count=lambda _: {})


LIMITED = dataclasses.replace(FREE, soft_limits={"size": 5.0})


def test_a_front_is_of_what_meets_the_limits_or_of_what_is_nearest_to_it() -> None:
    costs = np.array([[-3.0, 9.0], [-2.0, 5.0], [-1.0, 4.0], [0.0, 5.0]])
    assert LIMITED.front(costs).tolist() == [False, True, True, False]
    assert LIMITED.excess(costs + 2).tolist() == pytest.approx([1.2, 0.4, 0.2, 0.4])
    assert LIMITED.front(costs + 2).tolist() == [False, False, True, False]
    assert FREE.front(costs).tolist() == [True, True, True, False]
    assert (FREE.excess(costs) == 0).all()


def test_where_nothing_meets_the_limits_a_tie_goes_to_what_no_other_dominates() -> None:
    tied = np.array([[-1.0, 9.0], [-2.0, 9.0], [-3.0, 9.5]])
    assert LIMITED.front(tied).tolist() == [False, True, False]


def test_a_count_that_is_no_number_makes_an_architecture_infeasible() -> None:
    rows = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]])
    counts = np.array([1.0, np.nan, np.inf, 4.0])
    problem = dataclasses.replace(
        FREE, count=lambda _: {"size": counts}, violation=lambda _: np.array([0.5, 0.0, 0.0, np.nan])
    )
    assert problem.infeasibility(rows).tolist() == [0.5, np.inf, np.inf, np.inf]
