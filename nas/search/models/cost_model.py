"""All objectives of any architecture as predicted costs: measured ones by a surrogate, counted ones exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from nas.space import FloatArray, IntArray
from nas.strategy import Problem, Surrogate

_MAX_SCORE = 500.0
"""A float64 overflows at exp(709); what a wild prediction promises is beyond any front long before."""
_PROMISING = 1 / 3
"""Share of random architectures that are explored. What exploring earns is in ``docs/strategies.md``; other shares were
not tried."""
_SOFTNESS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 64.0)
"""In medians of the costs: from nearly a logarithm to nearly the costs themselves; the data chooses among them."""


@final
class NormalScores:
    """A monotone map that makes one column of costs about normal, and its inverse.

    A cost becomes the normal quantile of its rank (van der Waerden scores; a Gaussian copula, Salinas
    2020). So a few failures at ten times the usual error don't squeeze all else together, and neither the
    unit nor the tail of an objective matters to a surrogate.

    Costs between two known ones are interpolated. Beyond the best and the worst the map goes on as a
    straight line, as steep as from the median to there: how far the best may yet be outdone is estimated from
    all of the better half, not by the two best alone.

    Args:
        costs: ``(n,)`` finite, n >= 1.
    """

    def __init__(self, costs: FloatArray) -> None:
        # Half a rank from either end (Hazen), because the quantiles of 0 and 1 are infinite.
        scores = norm.ppf((rankdata(costs) - 0.5) / len(costs))
        self._scores, first = np.unique(scores, return_index=True)
        self._costs = costs[first]
        median = np.interp(0.0, self._scores, self._costs)
        ends = self._scores[[0, -1]]
        away = np.where(np.abs(ends) > 1e-9, ends, 1.0)  # one different cost: no slope
        self._slopes = np.maximum((self._costs[[0, -1]] - median) / away, 0.0)
        self._low = 0.0 if (costs >= 0).all() else -np.inf  # what was never negative won't become so

    def of(self, costs: FloatArray) -> FloatArray:
        """Return the scores of costs that the map was made from."""
        scores: FloatArray = np.interp(costs, self._costs, self._scores)
        return scores

    def costs_at(self, scores: FloatArray) -> FloatArray:
        """Return the costs at any scores, in the same shape."""
        below = np.minimum(scores - self._scores[0], 0.0) * self._slopes[0]
        above = np.maximum(scores - self._scores[-1], 0.0) * self._slopes[1]
        costs: FloatArray = np.interp(scores, self._scores, self._costs) + below + above
        return np.maximum(costs, self._low)


@final
class SoftLogarithm:
    """The map of a cost c to log(softness + c), and its inverse.

    Like a logarithm for costs well above the softness, where differences are factors, and like c itself near
    0, where a logarithm would make much of differences that no front shows.

    Args:
        softness: Positive, in the cost's unit.
    """

    def __init__(self, softness: float) -> None:
        self._softness = softness

    def of(self, costs: FloatArray) -> FloatArray:
        """Return the scores of costs that are not negative."""
        scores: FloatArray = np.log(self._softness + costs)
        return scores

    def costs_at(self, scores: FloatArray) -> FloatArray:
        """Return the costs at any scores, in the same shape; none is negative."""
        costs: FloatArray = np.exp(np.minimum(scores, _MAX_SCORE)) - self._softness
        return np.maximum(costs, 0.0)


Scale = NormalScores | SoftLogarithm


def best_scale(encodings: FloatArray, costs: FloatArray) -> Scale:
    """Return the scale on which costs are most nearly a sum over the choices.

    Every surrogate learns a sum from fewer trials than anything else: latencies add up nearly as they are,
    errors rather by rank. Each scale is rated by a ridge regression's predictions of trials that it was not
    fitted to: how soft the logarithm is by the density that they give to the costs, and whether it is better
    than normal scores by how well they rank them.

    Args:
        encodings: ``(n, d)`` one-hot.
        costs: ``(n,)`` of these.
    """
    by_rank = NormalScores(costs)
    median = float(np.median(costs))
    if median <= 0 or (costs < 0).any():
        return by_rank
    residuals = _LeftOut(encodings)
    softnesses = [median * factor for factor in _SOFTNESS]
    densities = [residuals.log_density(np.log(softness + costs)) for softness in softnesses]
    by_factor = SoftLogarithm(softnesses[int(np.argmax(densities))])
    ranked = [residuals.rank_correlation(scale.of(costs)) for scale in (by_rank, by_factor)]
    return by_rank if ranked[0] >= ranked[1] else by_factor


@final
class _LeftOut:
    """What ridge regression on ``(n, d)`` encodings predicts of each row from all others."""

    def __init__(self, encodings: FloatArray) -> None:
        gram = encodings.T @ encodings + np.eye(encodings.shape[1])
        self._encodings = encodings
        self._solved = np.linalg.solve(gram, encodings.T)  # the hat matrix itself is (n, n): too large
        self._leverages = np.einsum("nd,dn->n", encodings, self._solved)

    def _residuals(self, scores: FloatArray) -> FloatArray:
        centred = scores - scores.mean()
        fitted = self._encodings @ (self._solved @ centred)
        # The residual of a fit without the row, from a single fit with all rows (the PRESS statistic).
        residuals: FloatArray = (centred - fitted) / (1 - self._leverages)
        return residuals

    def log_density(self, logarithms: FloatArray) -> float:
        """Return the mean log density of costs that have these soft logarithms, but for a constant."""
        spread = max(float(self._residuals(logarithms).std()), 1e-12)
        return float(-np.log(spread) - logarithms.mean())  # d log(s + c) / dc = 1 / (s + c)

    def rank_correlation(self, scores: FloatArray) -> float:
        """Return Spearman's rho of scores and predictions; 0 where either is constant."""
        predicted = scores - self._residuals(scores)
        if np.ptp(scores) == 0 or np.ptp(predicted) == 0:
            return 0.0
        return float(np.corrcoef(rankdata(predicted), rankdata(scores))[0, 1])


def find_measured_columns(problem: Problem, indices: IntArray) -> list[int]:
    """Return which objectives are measured; ``indices`` are ``(n, num_choices)`` positions of any, n >= 1."""
    counted = problem.count(indices[:1])
    return [column for column, o in enumerate(problem.objectives) if o.name not in counted]


def count_costs(problem: Problem, indices: IntArray) -> FloatArray:
    """Return exact costs, and 0 where a cost is measured, ``(n, num_objectives)``."""
    counts = problem.count(indices)
    exact = np.zeros((len(indices), len(problem.objectives)))
    for column, objective in enumerate(problem.objectives):
        if objective.name in counts:
            exact[:, column] = objective.cost(1.0) * counts[objective.name]
    return exact


@final
class CostModel:
    """Predicts all objectives of any architecture from the finished trials.

    Args:
        problem: What is searched.
        surrogate: Untrained; learns the measured costs, each on its own scale.
        indices: ``(n, num_choices)`` positions of the finished trials, n >= 2.
        costs: ``(n, num_objectives)`` of these.
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
        self.measured = find_measured_columns(problem, indices)
        encodings = problem.space.encode(indices)
        self._maps = [best_scale(encodings, costs[:, column]) for column in self.measured]
        self.front = indices[problem.front(costs)]
        if self.measured:
            pairs = zip(self._maps, self.measured, strict=True)
            scores = np.stack([to.of(costs[:, column]) for to, column in pairs], axis=1)
            surrogate.fit(indices, scores, rng)
            # A cost that is the same in all trials has no extent to divide by.
            self._extents = np.maximum(scores.std(axis=0), 1e-12)
        self._widening = np.ones(len(self.measured))

    def widen(self, factors: Mapping[str, float]) -> None:
        """Multiply the deviations of :meth:`at`, by the name of the measured objective; draws stay as they are."""
        self._widening = np.array([factors[self._problem.objectives[c].name] for c in self.measured])

    def at(self, indices: IntArray, deviations: float) -> FloatArray:
        """Return the costs so many standard deviations from the prediction, ``(n, num_objectives)``."""
        if not self.measured:
            return count_costs(self._problem, indices)
        predicted = self._surrogate.predict(indices)
        scores = (predicted.mean + deviations * self._widening * predicted.std)[None]
        costs: FloatArray = self._with_exact(indices, scores)[0]
        return costs

    def promising(self, indices: IntArray) -> NDArray[np.bool_]:
        """Return which of ``(n, num_choices)`` positions are in the best third by what is known worst, ``(n,)``.

        That is the measured objective whose predictions are least certain, as a share of its spread among the
        finished trials.
        """
        predicted = self._surrogate.predict(indices)
        column = int(np.argmax(predicted.std.mean(axis=0) / self._extents))
        mean = predicted.mean[:, column]
        best: NDArray[np.bool_] = mean <= np.quantile(mean, _PROMISING)
        return best

    def draws(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return joint draws of the costs, ``(count, n, num_objectives)``."""
        if not self.measured:
            return np.tile(count_costs(self._problem, indices), (count, 1, 1))
        return self._with_exact(indices, self._surrogate.sample(indices, count, rng))

    def _with_exact(self, indices: IntArray, scores: FloatArray) -> FloatArray:
        """Return all costs, given ``(s, n, num_measured)`` scores."""
        costs = np.tile(count_costs(self._problem, indices), (len(scores), 1, 1))
        for position, (column, to) in enumerate(zip(self.measured, self._maps, strict=True)):
            costs[:, :, column] = to.costs_at(scores[:, :, position])
        return costs
