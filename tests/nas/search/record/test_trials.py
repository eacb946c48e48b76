from __future__ import annotations

import numpy as np
import optuna
import pytest
from fakes import grid_evaluate, grid_problem
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial

from nas.objective import Objective
from nas.search.loop import search
from nas.search.record.credibility import are_credible, credible, credible_front, doubts
from nas.search.record.reference_box import GrowingFront, ReferenceBox, reference_box
from nas.search.record.trials import by_completion, complete_trials, costs_of, indices_of
from nas.space import FloatArray
from nas.strategy import Problem
from nas.testing import toy_problem


def searched(problem: Problem, evaluations: int) -> optuna.Study:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=RandomSampler(seed=0))
    search(
        study, problem, lambda a: grid_evaluate(problem, a), evaluations=evaluations, on_trial=lambda _: None
    )
    return study


def test_there_is_no_box_before_the_tenth_evaluation() -> None:
    problem = grid_problem()
    assert reference_box(searched(problem, 9), problem.objectives) is None
    assert reference_box(searched(problem, 10), problem.objectives) is not None


def test_the_box_is_that_of_the_first_ten_for_ever() -> None:
    problem = grid_problem()
    study = searched(problem, 10)
    first = reference_box(study, problem.objectives)
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=40, on_trial=lambda _: None)
    later = reference_box(study, problem.objectives)
    late = reference_box(searched(problem, 40), problem.objectives)  # asked for the first time at 40
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
    study = searched(problem, 20)
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


def test_costs_turn_the_direction_and_keep_the_columns() -> None:
    problem = grid_problem()
    study = searched(problem, 3)
    costs = costs_of(problem.objectives, complete_trials(study))
    assert costs.tolist() == [[-t.values[0], t.values[1]] for t in study.trials]
    assert costs_of(problem.objectives, []).shape == (0, 2)


def test_positions_of_trials_are_canonical() -> None:
    problem = toy_problem()
    study = optuna.create_study(directions=["maximize", "minimize"])
    options = {"width": 3, "kernel": 5, "depth": 1, "second.width": 4, "second.kernel": 7, "mode": "c"}
    study.enqueue_trial(options)
    trial = study.ask(
        {n: optuna.distributions.CategoricalDistribution(problem.space[n].options) for n in options}
    )
    study.tell(trial, state=TrialState.PRUNED)
    row = indices_of(problem.space, study.trials)[0]
    assert row.tolist() == [2, 1, 0, 0, 0, 2]


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


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_value_too_good_to_be_true_is_taken_for_the_worst(size: float) -> None:
    usual = size * np.random.default_rng(0).random((20, 2))
    assert (credible(usual) == usual).all()
    assert (credible(-usual) == -usual).all()
    overflown = usual.copy()
    overflown[3, 0] = -1e12
    expected = usual.copy()
    expected[3, 0] = np.delete(usual[:, 0], 3).max()
    assert (credible(overflown) == expected).all()


def test_the_first_that_learns_among_failures_is_credible() -> None:
    chance = np.full((20, 1), -0.1)  # accuracies, to be minimised
    chance[7] = -0.99
    assert (credible(chance) == chance).all()
    zeros = np.zeros((20, 1))
    zeros[7] = -1.0
    assert (credible(zeros) == zeros).all()


@pytest.mark.parametrize(
    ("costs", "bogus"),
    [
        ([0.1] * 7 + [-1e12] * 3, 3),
        ([0.1] * 5 + [-1e12] * 5, 5),
        ([-0.5, -1e12], 1),
        ([1.0, 1.1, -1e12], 1),
        ([-1e12], 0),
        ([0.0] * 9 + [-1e12], 1),
        ([0.3, 0.2, 0.4, -999.0], 1),  # none else is negative
        ([0.3, 0.2, 0.4, -0.9], 0),
        ([-0.3, -0.2, -0.4, -999.0], 0),  # a rate that is maximised
    ],
    ids=str,
)
def test_up_to_half_of_the_values_may_be_too_good_to_be_true(costs: list[float], bogus: int) -> None:
    column = np.array(costs)[:, None]
    assert are_credible(column).tolist() == [True] * (len(costs) - bogus) + [False] * bogus
    assert (credible(column)[len(costs) - bogus :] == max(costs)).all()


def draws(rng: np.random.Generator, n: int) -> dict[str, FloatArray]:
    some = rng.random(n) < rng.random()
    return {
        "normal": rng.normal(size=n),
        "large": 1e9 * rng.normal(size=n),
        "log-normal": rng.lognormal(0.0, 3.0, n),
        "heavy tails": rng.standard_t(2.0, n),
        "a constant": np.full(n, 0.1),
        "two kinds": np.where(some, 0.9, 0.1) + 0.01 * rng.normal(size=n),
        "ties at the worst": np.where(some, 0.0, 1e7 * rng.random(n)),
        "rounding and a few that learn": 1e-17 * rng.normal(size=n) + np.where(some, 0.9, 0.0),
        "three orders": 10 ** rng.uniform(0.0, 3.0, n),
        "counted": np.floor(10 ** rng.uniform(5.0, 11.0, n)),
    }


def test_ordinary_values_are_credible() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 4, 5, 8, 10, 40, 400):
        for _ in range(40):
            for name, values in draws(rng, n).items():
                for column in (values[:, None], -values[:, None]):  # to be minimised, and maximised
                    assert are_credible(column).all(), (name, column)


def test_what_is_too_good_to_be_true_is_on_no_front_and_adds_no_hypervolume() -> None:
    usual = np.stack([np.arange(9.0), np.arange(9.0)[::-1]], axis=1)
    costs = np.concatenate([usual[:4], [[-1e12, 0.0]], usual[4:]])
    assert credible_front(costs, np.zeros(10)).tolist() == [True] * 4 + [False] + [True] * 5
    assert credible_front(costs, np.arange(10.0)[::-1]).tolist() == [False] * 9 + [True]
    assert credible_front(costs[:0], np.zeros(0)).tolist() == []
    box = ReferenceBox.around(usual)
    history = box.history(costs)
    assert history[4] == history[3]
    assert history[:4] + history[5:] == box.history(usual)


def test_doubts_name_the_trials_and_the_objectives() -> None:
    objectives = (Objective("error", "", "minimize"), Objective("rate", "", "maximize"))
    values = [[0.5, 1.0], [0.4, 2.0], [-1e12, 1.0], [0.3, 1.5], [0.5, 1e12], [0.2, 1.0]]
    trials = [create_trial(values=v) for v in values]
    for number, trial in enumerate(trials):
        trial.number = number
    assert doubts(objectives, trials[:2]) == doubts(objectives, []) == []
    assert doubts(objectives, trials[:4]) == [
        "trial 2 has values too good to be true in error and can't be on the front: check what measures that."
    ]
    assert doubts(objectives, trials)[0].startswith(
        "trials 2, 4 have values too good to be true in error, rate and"
    )


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


def test_trials_are_ordered_by_their_end_not_by_their_number() -> None:
    study = optuna.create_study()
    slow, quick = study.ask(), study.ask()
    study.tell(quick, 1.0)
    study.tell(slow, 0.0)
    assert [trial.number for trial in by_completion(study.trials)] == [1, 0]
