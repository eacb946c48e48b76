from __future__ import annotations

import dataclasses

import numpy as np
import optuna
import pytest
from fakes import grid_problem
from optuna.trial import create_trial

from nas.errors import StudyError
from nas.objective import Objective
from nas.search.record.reference_box import reference_box
from nas.search.record.trials import SECONDS, costs_of
from nas.search.stopping import Limits, Stopping, count_feasible, forecast_of
from nas.testing import toy_problem


@pytest.mark.parametrize("changes", [{"minutes": 0.0}, {"plateau": 0.0}, {"plateau": 1.0}, {"horizon": 0}])
def test_limits_out_of_range_are_a_sentence(changes: dict[str, float]) -> None:
    with pytest.raises(StudyError) as caught:
        Stopping(**changes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_limits_survive_being_stored() -> None:
    limits = Limits(200, Stopping(minutes=30.0, plateau=0.001))
    assert Limits.from_json(limits.to_json()) == limits


def test_a_search_whose_first_ten_were_all_cheap_is_not_at_its_end() -> None:
    """What lies beyond the first ten in one cost is not in the study's box; it counts for the forecast."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    cheap = [[1.0, 0.01 * n] for n in range(10)]
    better = [[1.0 - 0.01 * n, 1.0 + 0.1 * n] for n in range(50)]
    for values in cheap + better:
        study.add_trial(create_trial(values=values, user_attrs={SECONDS: 1.0}))
    objectives = [Objective("error", "", "minimize"), Objective("size", "", "minimize")]
    box = reference_box(study, objectives)
    assert box is not None
    history = box.history(costs_of(objectives, study.trials))
    assert history[-1] == history[9]
    expected = forecast_of(study, objectives, 50)
    assert expected is not None
    assert expected.gain > 0.05


def test_feasible_architectures_are_counted_once_each() -> None:
    assert count_feasible(grid_problem(2, 3, at_most=1)) == 3
    problem = dataclasses.replace(toy_problem(), violation=lambda rows: np.zeros(len(rows)))
    assert count_feasible(problem) == problem.space.cardinality() < problem.space.num_options.prod()
    assert count_feasible(grid_problem(7, 4, at_most=1)) == 8
    assert count_feasible(grid_problem(12, 4)) is None
    assert count_feasible(grid_problem(70, 1, at_most=0)) == 1
