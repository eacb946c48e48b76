"""Surrogate-assisted multi-objective search as an Optuna sampler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.pareto import non_dominated
from nas.protocols import Prediction, Problem, Surrogate
from nas.search.designs import space_filling
from nas.search.improvement import most_improving
from nas.search.nsga2 import evolve
from nas.search.record import costs_of, distributions, indices_of
from nas.space import FloatArray, IntArray

logger = logging.getLogger(__name__)

_POOL_SIZE = 64
_MIN_TRIALS_TO_FIT = 4


@final
class SurrogateSampler(BaseSampler):
    """Fits a surrogate to the finished trials and proposes what should add most to the front.

    The first proposals are the smallest and the largest architecture and a space-filling design. Then,
    batch after batch: the surrogate learns the measured objectives; NSGA-II (Deb 2002, by pymoo)
    searches the space on optimistic predictions and exact counted objectives, away from what was seen,
    within the hard constraints; of its last population those are proposed that are expected to add
    most hypervolume under the surrogate's uncertainty.

    There is no state besides the study: proposals depend on the seed, the trial's number, and the
    trials that were finished when its batch began, so a resumed search proposes what an uninterrupted
    one would.

    Args:
        problem: What is searched.
        surrogate: Makes an untrained surrogate.
        seed: Of designs, surrogate and NSGA-II.
        num_startup: Trials before the first fit.
        batch_size: Proposals per fit.
    """

    def __init__(
        self,
        problem: Problem,
        surrogate: Callable[[], Surrogate],
        *,
        seed: int,
        num_startup: int,
        batch_size: int,
    ) -> None:
        self._problem = problem
        self._surrogate = surrogate
        self._seed = seed
        self._num_startup = num_startup
        self._batch_size = batch_size
        self._ranked: tuple[int, IntArray] | None = None
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: all choices are proposed together."""
        return distributions(self._problem.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the best-ranked architecture of the trial's batch that no earlier trial holds."""
        begin = self._batch_begin(trial.number)
        if self._ranked is None or self._ranked[0] != begin:
            self._ranked = (begin, self._rank(study, begin))
        space = self._problem.space
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        seen = _keys(indices_of(space, [t for t in earlier if len(t.params) == len(space.choices)]))
        fresh = (row for row in self._ranked[1] if row.tobytes() not in seen)
        row = next(fresh, None)
        if row is None:
            logger.info("found no architecture that was not seen; proposing any")
            return {}
        return dict(space.from_indices(row[None])[0])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample a parameter that is not in the space at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _batch_begin(self, number: int) -> int:
        if number < self._num_startup:
            return 0
        return number - (number - self._num_startup) % self._batch_size

    def _rank(self, study: Study, begin: int) -> IntArray:
        """Return proposals for the batch that begins at trial ``begin``, best first."""
        rng = np.random.default_rng([self._seed, begin])
        space = self._problem.space
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < begin]
        seen = _keys(indices_of(space, [t for t in earlier if len(t.params) == len(space.choices)]))
        designs = space_filling(self._problem, max(self._num_startup, 3 * self._batch_size), rng, avoid=seen)
        complete = [t for t in earlier if t.state == TrialState.COMPLETE]
        if len(complete) < _MIN_TRIALS_TO_FIT:
            return designs
        costs = costs_of(self._problem.objectives, complete)
        model = CostModel(self._problem, self._surrogate(), indices_of(space, complete), costs, rng)
        pool = evolve(
            self._problem,
            model.optimistic,
            start=model.front,
            avoid=seen,
            size=_POOL_SIZE,
            rng=rng,
        )
        order = most_improving(model.predict(pool), costs, 3 * self._batch_size, rng) if len(pool) else []
        return np.concatenate([pool[order], designs])


@final
class CostModel:
    """All objectives as predicted costs: measured ones by the surrogate, counted ones exact.

    A measured cost c that is positive throughout is learned as log(1 + c / median): like a logarithm
    for large costs, where differences are factors, and like c itself near 0, where a logarithm would make
    much of differences that no front shows.

    Args:
        problem: What is searched.
        surrogate: Untrained.
        indices: ``(n, num_choices)`` positions of the finished trials.
        costs: ``(n, num_objectives)`` of the finished trials.
        rng: For the fit.
    """

    def __init__(
        self,
        problem: Problem,
        surrogate: Surrogate,
        indices: IntArray,
        costs: FloatArray,
        rng: np.random.Generator,
    ) -> None:
        self._problem = problem
        self._surrogate = surrogate
        counted = set(problem.count(indices[:1]))
        self._measured = [c for c, o in enumerate(problem.objectives) if o.name not in counted]
        positive = (costs > 0).all(axis=0)
        self._soft = np.where(positive, np.median(costs, axis=0), np.nan)
        self.front = indices[non_dominated(costs)]
        if self._measured:
            surrogate.fit(problem.space.encode(indices), self._learned(costs)[:, self._measured], rng)

    def _learned(self, costs: FloatArray) -> FloatArray:
        return np.where(np.isnan(self._soft), costs, np.log1p(costs / self._soft))

    def predict(self, indices: IntArray) -> PredictedCosts:
        """Predict the costs of ``(n, num_choices)`` positions."""
        problem = self._problem
        counts = problem.count(indices)
        mean = np.zeros((len(indices), len(problem.objectives)))
        std = np.zeros_like(mean)
        for column, objective in enumerate(problem.objectives):
            if objective.name in counts:
                sign = objective.cost(1.0)
                mean[:, column] = sign * counts[objective.name]
        if self._measured:
            predicted: Prediction = self._surrogate.predict(problem.space.encode(indices))
            mean[:, self._measured] = predicted.mean
            std[:, self._measured] = predicted.std
        is_measured = np.isin(np.arange(mean.shape[1]), self._measured)
        return PredictedCosts(mean, std, np.where(is_measured, self._soft, np.nan))

    def optimistic(self, indices: IntArray) -> FloatArray:
        """Return costs one standard deviation below the prediction, ``(n, num_objectives)``."""
        return self.predict(indices).at(-1.0)


@final
class PredictedCosts:
    """Normal predictions of costs, or of their soft logarithm.

    Args:
        mean: ``(n, m)``.
        std: ``(n, m)``; 0 for exact costs.
        soft: ``(m,)`` what a cost was divided by in log(1 + c / soft); NaN where it was left as it is.
    """

    def __init__(self, mean: FloatArray, std: FloatArray, soft: FloatArray) -> None:
        self._mean, self._std, self._soft = mean, std, soft

    def __len__(self) -> int:
        return len(self._mean)

    def at(self, deviations: float | FloatArray) -> FloatArray:
        """Return the costs ``deviations`` standard deviations from the mean, ``(n, m)``."""
        values = self._mean + deviations * self._std
        as_is = np.isnan(self._soft)
        return np.where(as_is, values, self._soft * np.expm1(np.where(as_is, 0.0, values)))


def _keys(indices: IntArray) -> set[bytes]:
    return {row.tobytes() for row in indices}
