"""The surrogate that predicts held-out trials best, cost by cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.stats import norm

from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import MakeSurrogate, Prediction, Surrogate
from surrogates.boosted_trees import BoostedTrees
from surrogates.gaussian_process import GaussianProcess
from surrogates.mlp_ensemble import MlpEnsemble


@final
@dataclass
class CrossValidated:
    """Chooses among surrogates, for each cost, by cross-validation on the trials so far (Stone 1974).

    The idea is NSGANetV2's adaptive switching (Lu 2020), with three differences. Candidates are compared by the
    log density that they give to held-out costs, so that a confident error counts more than a modest one: a
    search follows the deviations as much as the means. Every cost has a choice of its own. And the first
    candidate is kept unless another is better by more than the standard error of the difference, so that the
    choice doesn't flicker with the noise of few trials.

    Args:
        space: Space of the architectures.
        candidates: Surrogates to choose among, the preferred one first.
        folds: Folds of the cross-validation.
        max_points: Compare on so many trials at most, drawn at random.
    """

    space: SearchSpace
    candidates: Sequence[MakeSurrogate] = (GaussianProcess, MlpEnsemble, BoostedTrees)
    folds: int = 5
    max_points: int = 200

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data."""
        densities = np.stack([self._score_held_out(make, indices, costs, rng) for make in self.candidates])
        self.chosen = [_choose_row(densities[:, :, column]) for column in range(costs.shape[1])]
        self._columns: list[tuple[Surrogate, list[int]]] = []
        for position in dict.fromkeys(self.chosen):
            columns = [column for column, by in enumerate(self.chosen) if by == position]
            surrogate = self.candidates[position](self.space)
            surrogate.fit(indices, costs[:, columns], rng)
            self._columns.append((surrogate, columns))

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        mean = np.zeros((len(indices), len(self.chosen)))
        std = np.zeros_like(mean)
        for surrogate, columns in self._columns:
            predicted = surrogate.predict(indices)
            mean[:, columns], std[:, columns] = predicted.mean, predicted.std
        return Prediction(mean, std)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` draws: joint over architectures, independent between costs' surrogates."""
        draws = np.zeros((count, len(indices), len(self.chosen)))
        for surrogate, columns in self._columns:
            draws[:, :, columns] = surrogate.sample(indices, count, rng)
        return draws

    def _score_held_out(
        self, make: MakeSurrogate, indices: IntArray, costs: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Return the log density of every held-out cost, ``(k, m)``, the same trials for every candidate."""
        order = np.random.default_rng(len(costs)).permutation(len(costs))[: self.max_points]
        densities = np.zeros((len(order), costs.shape[1]))
        for part in np.array_split(np.arange(len(order)), min(self.folds, len(order))):
            taught = np.delete(order, part)
            if len(taught) < 2:
                continue
            surrogate = make(self.space)
            surrogate.fit(indices[taught], costs[taught], rng)
            predicted = surrogate.predict(indices[order[part]])
            residuals = costs[order[part]] - predicted.mean
            noise = _noise(costs[taught] - surrogate.predict(indices[taught]).mean)
            densities[part] = norm.logpdf(residuals, scale=np.sqrt(predicted.std**2 + noise**2))
        return densities


def _noise(residuals: FloatArray) -> FloatArray:
    """Return how far costs scatter about the fit, ``(m,)``; the predicted deviations leave that out."""
    noise: FloatArray = np.maximum(residuals.std(axis=0), 1e-9)
    return noise


def _choose_row(densities: FloatArray) -> int:
    """Return which row of ``(num_candidates, k)`` log densities to go by."""
    gains = densities - densities[0]
    errors = gains.std(axis=1) / np.sqrt(gains.shape[1])
    better = gains.mean(axis=1) > errors
    return int(np.argmax(np.where(better, gains.mean(axis=1), 0.0)))
