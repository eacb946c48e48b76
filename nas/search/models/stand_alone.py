"""The second fidelity: the quality of architectures that were trained on their own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import final

import numpy as np
from optuna.study import Study
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Problem

STAND_ALONE = "stand_alone"
_FEWEST = 8
"""Chosen: a line and a Gaussian process are fitted to them, and fewer would be explained by the line alone."""
_NEGLIGIBLE = 1e-2
"""As a share of the range that was reached. Where all expectations lie closer together, a search by them would follow
their rounding, so it goes by what it measured itself."""


def keep_stand_alone(study: Study, how: str, values: Mapping[int, float]) -> int:
    """Store the quality that evaluated architectures reached on their own; return how many are known now.

    Args:
        study: Study that evaluated them with shared weights.
        how: How they were trained. Results of another way are deleted, because they can't be compared.
        values: By trial number.
    """
    stored = study.user_attrs.get(STAND_ALONE, {})
    earlier = stored["values"] if stored.get("how") == how else {}
    known = {**earlier, **{str(number): value for number, value in values.items()}}
    study.set_user_attr(STAND_ALONE, {"how": how, "values": known})
    return len(known)


def stand_alone_values(study: Study) -> dict[int, float]:
    """Return the quality on their own by trial number; {} where too few are known to learn from."""
    values = study.user_attrs.get(STAND_ALONE, {}).get("values", {})
    return {int(number): value for number, value in values.items()} if len(values) >= _FEWEST else {}


def expect_alone(
    problem: Problem, values: Mapping[int, float], numbers: IntArray, indices: IntArray, costs: FloatArray
) -> FloatArray:
    """Return costs in which the quality is what architectures are expected to reach on their own.

    Args:
        problem: What is searched; the first objective is the quality.
        values: Quality after a training of their own, by trial number.
        numbers: ``(n,)`` of finished trials.
        indices: ``(n, num_choices)`` their architectures.
        costs: ``(n, m)`` that the search measured.

    Returns:
        ``(n, m)``: ``costs`` itself where fewer than eight of the trials have a value, or where these tell nothing,
        so that the same is expected of all.
    """
    rows = np.flatnonzero(np.isin(numbers, list(values)))
    if len(rows) < _FEWEST:
        return costs
    alone = np.array([problem.objectives[0].cost(values[int(number)]) for number in numbers[rows]])
    model = TwoFidelities(problem.space, indices[rows], costs[rows, 0], alone)
    expected = model.alone(indices, costs[:, 0])
    if np.ptp(expected) <= _NEGLIGIBLE * np.ptp(alone):
        return costs
    return np.column_stack([expected, costs[:, 1:]])


@final
class TwoFidelities:
    """Predicts the cost after a training of its own from the cost with shared weights (Kennedy 2000).

    The expensive cost is a straight line of the cheap one, with a slope of 0 or more, plus a Gaussian process over
    architectures for the rest. Its variance and that of the noise are fitted together. So it is nearly 0 if the errors
    of the supernet have no pattern, and the process predicts nearly alone if the supernet's ranking says nothing.

    Args:
        space: Space of the architectures.
        indices: ``(k, num_choices)`` positions of those whose costs are both known, k >= 2.
        cheap: ``(k,)`` costs with shared weights.
        dear: ``(k,)`` costs after a training of their own.
    """

    def __init__(self, space: SearchSpace, indices: IntArray, cheap: FloatArray, dear: FloatArray) -> None:
        self._space = space
        away = cheap - cheap.mean()
        constant = np.ptp(cheap) <= 1e-9 * np.abs(cheap).max()  # their mean may be off by rounding
        self._slope = 0.0 if constant else max(float(away @ dear) / float(away @ away), 0.0)
        self._intercept = float(dear.mean() - self._slope * cheap.mean())
        residuals = dear - self._line(cheap)
        self._scale = float(residuals.std()) if np.ptp(dear) > 0 else 0.0
        self._process = GaussianProcessRegressor(
            ConstantKernel(0.5, (1e-3, 10.0)) * RBF(1.0, (0.3, 10.0)) + WhiteKernel(0.5, (1e-2, 10.0))
        )
        if self._scale > 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a variance of nothing lies at its bound
                self._process.fit(self._features(indices), residuals / self._scale)

    def alone(self, indices: IntArray, cheap: FloatArray) -> FloatArray:
        """Return the expected dear costs, ``(n,)``, given ``(n, num_choices)`` positions and ``(n,)`` cheap costs."""
        line = self._line(cheap)
        if self._scale == 0:
            return line
        beyond: FloatArray = self._process.predict(self._features(indices))
        return line + self._scale * beyond

    def _line(self, cheap: FloatArray) -> FloatArray:
        return self._intercept + self._slope * cheap

    def _features(self, indices: IntArray) -> FloatArray:
        """Return one-hot encodings in which two architectures without a common option lie 1 apart."""
        features: FloatArray = self._space.encode(indices) / np.sqrt(2.0 * len(self._space.choices))
        return features
