from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import grid_problem

from nas.errors import StudyError
from nas.search.stopping import Limits, Stopping, count_feasible
from nas.testing import toy_problem


@pytest.mark.parametrize("changes", [{"minutes": 0.0}, {"plateau": 0.0}, {"plateau": 1.0}, {"horizon": 0}])
def test_limits_out_of_range_are_a_sentence(changes: dict[str, float]) -> None:
    with pytest.raises(StudyError) as caught:
        Stopping(**changes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_limits_survive_being_stored() -> None:
    limits = Limits(200, Stopping(minutes=30.0, plateau=0.001))
    assert Limits.from_json(limits.to_json()) == limits


def test_feasible_architectures_are_counted_once_each() -> None:
    assert count_feasible(grid_problem(2, 3, at_most=1)) == 3
    problem = dataclasses.replace(toy_problem(), violation=lambda rows: np.zeros(len(rows)))
    assert count_feasible(problem) == problem.space.cardinality() < problem.space.num_options.prod()
    assert count_feasible(grid_problem(7, 4, at_most=1)) == 8
    assert count_feasible(grid_problem(12, 4)) is None
