from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import optuna
import pytest
from earlier_runs import grid_knowledge, told
from fakes import NearestSurrogate, grid_problem
from optuna.samplers import BaseSampler

from nas.knowledge import Knowledge
from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.models.informed import InformedSurrogate
from nas.search.models.sources import Sources
from nas.search.record.trials import indices_of
from nas.space import FloatArray, IntArray
from nas.strategy import Prediction, Problem
from nas.testing import check_strategy
from search_spaces.digits_mlp import digits_mlp_table
from search_spaces.tabular import EvaluatedSpace
from surrogates.gaussian_process import GaussianProcess

OURS = SurrogateSearch(NearestSurrogate, num_startup=8, batch_size=4)


@dataclasses.dataclass(frozen=True)
class Knowing:
    """Our search of a problem that knows something of its first objective."""

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        rows = np.unique(problem.space.sample_indices(30, np.random.default_rng(1)), axis=0)
        values = rows.sum(axis=1).astype(np.float64)
        return OURS.sampler(told(problem, values, rows), seed)


@pytest.mark.usefixtures("short_evolution")
def test_the_contract_of_a_strategy_holds_with_knowledge() -> None:
    check_strategy(Knowing(), num_trials=15, never_wastes=True)


def test_the_contract_of_a_surrogate_holds_with_knowledge() -> None:
    problem = grid_problem()
    rows, values = grid_knowledge(problem)
    problem = told(dataclasses.replace(problem, count=lambda _: {}), values, rows)
    informed = partial(_informed, problem)
    indices = np.unique(problem.space.sample_indices(30, np.random.default_rng(0)), axis=0)
    costs = np.column_stack([-np.sqrt(indices).sum(axis=1), indices.sum(axis=1).astype(np.float64)])
    surrogate = informed()
    surrogate.fit(indices, costs, np.random.default_rng(0))
    predicted = surrogate.predict(indices)
    draws = surrogate.sample(indices, 400, np.random.default_rng(1))
    assert draws.shape == (400, *costs.shape)
    assert (predicted.std > 0).all()
    np.testing.assert_allclose(draws.mean(axis=0)[:, 0], predicted.mean[:, 0], atol=0.3)
    np.testing.assert_allclose(draws.std(axis=0)[:, 0], predicted.std[:, 0], rtol=0.4)


def _informed(problem: Problem) -> InformedSurrogate:
    sources = Sources(problem, GaussianProcess)
    return InformedSurrogate(problem.space, NearestSurrogate(problem.space), sources)


class NumberedDraws:
    """A surrogate whose draws are 1000, 1001 and so on, far from what anybody believes."""

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        self._num_costs = costs.shape[1]

    def predict(self, indices: IntArray) -> Prediction:
        return Prediction(*np.ones((2, len(indices), self._num_costs)))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        return np.tile(1000.0 + np.arange(count)[:, None, None], (1, len(indices), self._num_costs))


def test_every_part_of_the_surrogates_draws_has_its_say() -> None:
    """A mixture's draws are one member's after the other's: the first half alone would leave members out."""
    problem = grid_problem()
    rows, values = grid_knowledge(problem)
    sources = Sources(told(problem, values, rows), GaussianProcess)
    surrogate = InformedSurrogate(problem.space, NumberedDraws(), sources)
    surrogate.fit(rows, values[:, None], np.random.default_rng(0))
    drawn = surrogate.sample(rows[:3], 24, np.random.default_rng(1))[:, 0, 0]
    heard = drawn[drawn > 500] - 1000
    assert len(heard) == 12
    for part in np.array_split(np.arange(24), 4):
        assert np.isin(heard, part).sum() == 3


def test_constant_costs_and_few_trials_are_no_trouble() -> None:
    problem = grid_problem()
    rows, values = grid_knowledge(problem)
    surrogate = _informed(told(problem, values, rows))
    for costs in (np.full((5, 1), 3.0), np.arange(2.0)[:, None]):
        surrogate.fit(rows[: len(costs)], costs, np.random.default_rng(0))
        assert np.isfinite(surrogate.predict(rows).mean).all()
        assert np.isfinite(surrogate.sample(rows, 3, np.random.default_rng(0))).all()


def found(table: EvaluatedSpace, knowledge: tuple[Knowledge, ...], seed: int) -> float:
    """Return the share of the front's hypervolume that ten evaluations find."""
    problem = dataclasses.replace(table.problem(), knowledge=knowledge)
    strategy = SurrogateSearch(GaussianProcess)
    study = optuna.create_study(
        directions=[o.direction for o in table.objectives], sampler=strategy.sampler(problem, seed)
    )
    search(study, problem, table.evaluate, evaluations=10, on_trial=lambda _: None)
    return table.hypervolume_ratio(table.rows(indices_of(table.space, study.trials)))


def test_a_good_prior_helps_and_a_shuffled_one_does_little_harm() -> None:
    table = digits_mlp_table()
    rng = np.random.default_rng(0)
    rows = rng.choice(len(table.costs), 80, replace=False)
    noisy = table.costs[rows, 0] + 0.1 * table.costs[:, 0].std() * rng.standard_normal(len(rows))
    good, shuffled = (
        (Knowledge("earlier", table.positions[rows], values, "error", are_costs=True),)
        for values in (noisy, rng.permutation(noisy))
    )
    seeds = range(3)
    with_good, without, with_shuffled = (
        np.mean([found(table, known, seed) for seed in seeds]) for known in (good, (), shuffled)
    )
    assert with_good > without
    assert with_shuffled > without - 0.02
