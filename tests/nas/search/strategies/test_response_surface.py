from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, exact, grid_evaluate, grid_problem

from nas.choices import choice
from nas.errors import StudyError
from nas.objective import Measurement, Objective
from nas.search import ResponseSurfaceSearch
from nas.search.loop import search
from nas.search.record.trials import PREDICTED_FROM, predictions_of
from nas.search.strategies.response_surface import gaussian_steps
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction
from nas.testing import check_strategy


def test_it_keeps_the_contract_and_wastes_nothing() -> None:
    check_strategy(ResponseSurfaceSearch(NearestSurrogate), never_wastes=True)


class Oracle:
    """Knows the grid's quality; counts its fits."""

    fits = 0

    def __init__(self, space: SearchSpace) -> None:
        pass

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        type(self).fits += 1
        assert costs.shape[1] == 1, "the counted size is not to be learned"

    def predict(self, indices: IntArray) -> Prediction:
        mean = -(np.sqrt(indices).sum(axis=1) - 0.2 * indices[:, 0])[:, None]
        return Prediction(mean, np.ones_like(mean))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        return self.predict(indices).sample(count, rng)


def searched(strategy: ResponseSurfaceSearch, evaluations: int) -> optuna.Study:
    problem = grid_problem()
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))
    search(
        study, problem, lambda a: grid_evaluate(problem, a), evaluations=evaluations, on_trial=lambda _: None
    )
    return study


def test_with_a_perfect_response_surface_nothing_dominated_is_evaluated() -> None:
    study = searched(ResponseSurfaceSearch(Oracle, num_startup=5, accept=0.0), 16)
    values = np.array([t.values for t in study.trials]) * [-1, 1]
    for number in range(5, 16):
        assert not (values[:number] <= values[number]).all(axis=1).any(), f"trial {number} is dominated"


def test_what_is_too_good_to_be_true_dominates_nothing() -> None:
    problem, strategy = grid_problem(), ResponseSurfaceSearch(Oracle, num_startup=5, accept=0.0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=strategy.sampler(problem, 0))

    def evaluate(architecture: Architecture) -> dict[str, Measurement]:
        values = dict(grid_evaluate(problem, architecture))
        return values | {"quality": exact(1e12)} if len(study.trials) == 3 else values

    search(study, problem, evaluate, evaluations=16, on_trial=lambda _: None)
    sizes = np.array([t.values[1] for t in study.trials])
    assert (sizes[5:] > sizes[2]).any()
    values = np.delete(np.array([t.values for t in study.trials]) * [-1, 1], 2, axis=0)
    for number in range(4, 15):
        assert not (values[:number] <= values[number]).all(axis=1).any(), f"row {number} is dominated"


def test_it_refits_after_so_many_trials() -> None:
    Oracle.fits = 0
    searched(ResponseSurfaceSearch(Oracle, num_startup=5, retrain_every=4), 14)
    assert Oracle.fits == 3  # after 5, 9 and 13 trials


def test_what_was_predicted_and_from_how_many_trials_is_kept_with_the_trial() -> None:
    study = searched(ResponseSurfaceSearch(Oracle, num_startup=5, retrain_every=4), 14)
    assert [t.system_attrs.get(PREDICTED_FROM) for t in study.trials] == [None] * 5 + [5] * 4 + [9] * 4 + [13]
    for trial in study.trials[5:]:
        value = trial.values[0]
        assert predictions_of(trial) == {"quality": pytest.approx([value, value + 1, value - 1])}


def test_a_cost_that_was_learned_as_a_logarithm_is_predicted_in_its_unit() -> None:
    positive = Objective("quality", "", "minimize")
    problem = dataclasses.replace(grid_problem(), objectives=(positive, grid_problem().objectives[1]))
    study = optuna.create_study(
        directions=["minimize", "minimize"],
        sampler=ResponseSurfaceSearch(NearestSurrogate).sampler(problem, 0),
    )

    def evaluate(architecture: Architecture) -> dict[str, Measurement]:
        return grid_evaluate(problem, architecture) | {"quality": Measurement(1e6, 0.0, "", "", 1)}

    search(study, problem, evaluate, evaluations=12, on_trial=lambda _: None)
    value, low, high = predictions_of(study.trials[-1])["quality"]
    assert low < value < high
    assert value == pytest.approx(1e6)


def test_what_is_predicted_to_be_dominated_is_taken_as_often_as_told() -> None:
    study = searched(ResponseSurfaceSearch(Oracle, num_startup=5, accept=1.0), 40)
    values = np.array([t.values for t in study.trials]) * [-1, 1]
    dominated = [(values[:n] <= values[n]).all(axis=1).any() for n in range(5, 40)]
    assert sum(dominated) > 10


def test_steps_stay_in_the_space_and_near_where_options_are_numbers() -> None:
    space = SearchSpace((choice("n", *range(30)), choice("op", "a", "b", "c", "d", "e")))
    start = np.tile([15, 2], (4000, 1))
    moved = gaussian_steps(space, start, 1.0, np.random.default_rng(0))
    steps = moved[:, 0] - 15
    assert abs(steps.mean()) < 0.1
    assert abs(steps.std() - 1.0) < 0.1
    ops = np.bincount(moved[:, 1], minlength=5) / 4000
    assert ops[2] > 0.4
    assert np.ptp(ops[[0, 1, 3, 4]]) < 0.04, "options without an order are equally near"
    edge = gaussian_steps(space, start * 0, 5.0, np.random.default_rng(0))
    assert edge.min() == 0


@pytest.mark.parametrize(
    "settings",
    [{"num_startup": 1}, {"retrain_every": 0}, {"sigma": 0.0}, {"sigma": float("nan")}, {"accept": 1.1}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=next(iter(settings))):
        ResponseSurfaceSearch(NearestSurrogate, **settings)


def test_costs_over_many_orders_and_a_later_zero_are_no_obstacle() -> None:
    problem = dataclasses.replace(grid_problem(), count=lambda _: {})
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=ResponseSurfaceSearch(NearestSurrogate).sampler(problem, 0),
    )
    for number in range(20):
        trial = study.ask()
        for one in problem.space.choices:
            trial.suggest_categorical(one.name, one.options)
        study.tell(trial, [0.1 * number, 0.0 if number > 12 else 10.0 ** (number - 6)])
    assert len({tuple(t.params.values()) for t in study.trials}) == 20
