from __future__ import annotations

import itertools

import numpy as np
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem, with_objectives

from nas.objective import Objective
from nas.search.models.cost_model import CostModel, NormalScores
from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction


def test_counted_objectives_are_exact_in_the_model() -> None:
    problem = grid_problem()
    rows = problem.space.sample_indices(8, np.random.default_rng(0))
    values = [grid_evaluate(problem, a) for a in problem.space.from_indices(rows)]
    costs = np.array([[-v["quality"].value, v["size"].value] for v in values])
    model = CostModel(problem, NearestSurrogate(problem.space), rows, costs, np.random.default_rng(0))
    queries = problem.space.sample_indices(20, np.random.default_rng(1))
    for deviations in (-1.0, 0.0, 3.0):
        predicted = model.at(queries, deviations)
        assert predicted[:, 1].tolist() == queries.sum(axis=1).tolist()
    assert np.allclose(model.at(rows, 0.0), costs)


SHAPES = {
    "spread over factors": np.geomspace(0.01, 100, 9),
    "one far away": np.array([1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1e4]),
    "nearly equal": 5.0 + 1e-9 * np.arange(9),
    "two values": np.array([0.0] * 8 + [1.0]),
    "a long tail of bad ones": -np.array([0.1, 0.1, 0.2, 0.95, 0.96, 0.96, 0.97, 0.97, 0.98]),
    "huge": 1e12 * np.arange(1, 10),
    "tiny": 1e-12 * np.arange(1, 10),
    "constant": np.full(9, 0.3),
    "zero": np.zeros(9),
}


@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES.keys())
def test_predictions_are_finite_however_the_costs_lie_and_exact_where_they_are_known(
    values: np.ndarray,
) -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    )
    rows = np.unique(problem.space.sample_indices(20, np.random.default_rng(0)), axis=0)[:9]
    costs = np.column_stack([np.linspace(-1, 0, 9), values])
    model = CostModel(problem, NearestSurrogate(problem.space), rows, costs, np.random.default_rng(0))
    queries = problem.space.sample_indices(50, np.random.default_rng(1))
    for deviations in (-10.0, -1.0, 1.0, 10.0):
        assert np.isfinite(model.at(queries, deviations)).all()
    known = model.at(rows, 0.0)
    assert np.allclose(known, costs, rtol=1e-3, atol=1e-3 * np.ptp(values) + 1e-15)


def test_more_deviations_never_mean_less_cost() -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    )
    rows = problem.space.sample_indices(9, np.random.default_rng(0))
    costs = np.column_stack([np.linspace(-1, 0, 9), SHAPES["spread over factors"]])
    model = CostModel(problem, NearestSurrogate(problem.space), rows, costs, np.random.default_rng(0))
    queries = problem.space.sample_indices(30, np.random.default_rng(1))
    steps = [model.at(queries, deviations) for deviations in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert all((after >= before).all() for before, after in itertools.pairwise(steps))


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_widening_moves_what_is_told_away_from_what_is_expected(factor: float) -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    )
    rows = problem.space.sample_indices(9, np.random.default_rng(0))
    costs = np.column_stack([np.linspace(-1, 0, 9), SHAPES["spread over factors"]])
    models = [
        CostModel(problem, NearestSurrogate(problem.space), rows, costs, np.random.default_rng(0))
        for _ in range(2)
    ]
    models[1].widen({"quality": factor, "latency_ms": 1.0})
    queries = problem.space.sample_indices(30, np.random.default_rng(1))
    assert np.array_equal(models[1].at(queries, 0.0), models[0].at(queries, 0.0))
    assert np.allclose(models[1].at(queries, 0.1)[:, 0], models[0].at(queries, 0.1 * factor)[:, 0])
    assert np.array_equal(models[1].at(queries, 0.1)[:, 1], models[0].at(queries, 0.1)[:, 1])
    drawn = [m.draws(queries, 40, np.random.default_rng(2)) for m in models]
    assert np.array_equal(*drawn)  # what a search picks by stays as it was


def test_one_far_worse_cost_does_not_squeeze_the_others_together() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 1e12])
    gaps = np.diff(NormalScores(values).of(values))
    assert gaps.max() < 3 * gaps.min()


def test_the_best_may_be_outdone_by_as_much_as_the_better_half_lies_apart() -> None:
    """The two best being equal must not mean that nothing better is expected."""
    values = np.array([1.0, 1.0, 2.0, 3.0, 4.0])
    scores = NormalScores(values)
    best = scores.of(values).min()
    assert 1.0 - scores.costs_at(np.array([best - 0.5]))[0] > 0.3


def test_costs_that_are_never_negative_stay_so() -> None:
    scores = NormalScores(np.array([0.1, 5.0, 9.0]))
    assert scores.costs_at(np.array([-50.0]))[0] == 0.0


class DoubtfulSurrogate:
    """Predicts costs that rise with the first choice and fall with the second; unsure of one column."""

    doubted: int

    def __init__(self, space: SearchSpace) -> None:
        pass

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        self._extent = costs.std(axis=0)

    def predict(self, indices: IntArray) -> Prediction:
        mean = np.stack([indices[:, 0], -indices[:, 1]], axis=1).astype(np.float64)
        share = np.where(np.arange(2) == self.doubted, 0.5, 0.1)
        return Prediction(mean, np.tile(share * self._extent, (len(indices), 1)))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        return self.predict(indices).sample(count, rng)


@pytest.mark.parametrize("doubted", [0, 1])
def test_promising_is_what_is_best_by_what_is_known_worst(doubted: int) -> None:
    problem = with_objectives(
        grid_problem(), Objective("quality", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    )
    rows = problem.space.sample_indices(9, np.random.default_rng(0))
    costs = np.column_stack([np.linspace(-1, 0, 9), 1e3 * np.linspace(1, 2, 9)])
    surrogate = DoubtfulSurrogate(problem.space)
    surrogate.doubted = doubted
    model = CostModel(problem, surrogate, rows, costs, np.random.default_rng(0))
    queries = problem.space.combinations(np.arange(problem.space.num_combinations))
    promising = queries[model.promising(queries), doubted]
    assert set(promising.tolist()) == ({0, 1} if doubted == 0 else {2, 3})
