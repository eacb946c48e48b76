from __future__ import annotations

import numpy as np
import pytest
from fakes import grid_evaluate, grid_problem, search_at_random

from nas.search.loop import search
from nas.search.record.reference_box import GrowingFront, ReferenceBox, reference_box
from nas.search.record.trials import complete_trials, costs_of


def test_there_is_no_box_before_the_tenth_evaluation() -> None:
    problem = grid_problem()
    assert reference_box(search_at_random(problem, 9), problem.objectives) is None
    assert reference_box(search_at_random(problem, 10), problem.objectives) is not None


def test_the_box_is_that_of_the_first_ten_for_ever() -> None:
    problem = grid_problem()
    study = search_at_random(problem, 10)
    first = reference_box(study, problem.objectives)
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=40, on_trial=lambda _: None)
    later = reference_box(study, problem.objectives)
    late = reference_box(search_at_random(problem, 40), problem.objectives)  # asked for the first time at 40
    assert first is not None
    for box in (later, late):
        assert box is not None
        assert box.best.tolist() == first.best.tolist()
        assert box.worst.tolist() == first.worst.tolist()
    costs = costs_of(problem.objectives, complete_trials(study)[:10])
    assert first.best.tolist() == costs.min(axis=0).tolist()
    assert first.worst.tolist() == costs.max(axis=0).tolist()


def test_hypervolume_is_in_boxes() -> None:
    box = ReferenceBox(np.array([-10.0, 100.0]), np.array([0.0, 300.0]))
    assert box.scale(np.array([[-5.0, 200.0]])).tolist() == [[0.5, 0.5]]
    assert box.hypervolume(np.array([[-10.0, 100.0]])) == pytest.approx(1.21)
    assert box.hypervolume(np.array([[50.0, 100.0]])) == 0.0
    assert box.hypervolume(np.zeros((0, 2))) == 0.0


def test_a_constant_objective_makes_no_box_of_nan() -> None:
    box = ReferenceBox(np.array([1.0, 5.0]), np.array([2.0, 5.0]))
    volume = box.hypervolume(np.array([[1.0, 5.0]]))
    assert np.isfinite(volume)
    assert volume > 0


def test_history_never_falls_and_ends_at_the_whole() -> None:
    problem = grid_problem()
    study = search_at_random(problem, 20)
    box = reference_box(study, problem.objectives)
    assert box is not None
    costs = costs_of(problem.objectives, complete_trials(study))
    history = box.history(costs)
    assert len(history) == 20
    assert history == sorted(history)
    assert history[-1] == box.hypervolume(costs)


def test_history_never_falls_where_hypervolume_is_approximate() -> None:
    costs = np.random.default_rng(1).random((60, 6))
    history = ReferenceBox(np.zeros(6), np.ones(6)).history(costs)
    assert history == sorted(history)


@pytest.mark.parametrize("constant", [5.0, 0.0, -3.0, 1e12])
def test_a_constant_objective_is_measured_in_its_own_size(constant: float) -> None:
    box = ReferenceBox.around(np.array([[1.0, constant], [2.0, constant], [3.0, constant]]))
    assert box.hypervolume(np.array([[1.0, constant]])) == pytest.approx(1.21)
    unit = abs(constant) or 1.0
    assert box.scale(np.array([[1.0, constant + 0.05 * unit]]))[0, 1] == pytest.approx(0.05)


def test_one_value_far_out_does_not_make_everything_else_equal() -> None:
    usual = np.stack([np.arange(9.0), np.arange(9.0)[::-1]], axis=1)
    costs = np.concatenate([usual, [[4.0, 1e12]]])
    box = ReferenceBox.around(costs)
    assert box.worst.tolist() == [8.0, 8.0]
    assert box.hypervolume(np.array([[2.0, 2.0]])) > 1.3 * box.hypervolume(np.array([[4.0, 4.0]]))


def test_costs_that_span_six_orders_of_magnitude_are_not_far_out() -> None:
    costs = np.logspace(0, 6, 10)[:, None]
    assert ReferenceBox.around(costs).worst.tolist() == [1e6]


def test_dominated_costs_change_nothing_and_the_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    costs = rng.uniform(size=(60, 3))
    box = ReferenceBox(np.zeros(3), np.ones(3))
    front = GrowingFront(box)
    for cost in costs:
        front.add(cost)
    assert front.hypervolume == pytest.approx(box.hypervolume(costs), rel=1e-12)
    assert front.add(np.full(3, 0.99)) == front.hypervolume
    assert box.history(costs)[-1] == pytest.approx(box.history(costs[::-1])[-1], rel=1e-12)
