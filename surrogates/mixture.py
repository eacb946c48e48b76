"""Several kinds of surrogate, each right a part of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import MakeSurrogate, Prediction
from surrogates.gaussian_process import GaussianProcess
from surrogates.mlp_ensemble import MlpEnsemble


@final
@dataclass
class Mixture:
    """An equal mixture of different surrogates (a deep ensemble across kinds: Lakshminarayanan 2017).

    A Gaussian process finds structure in few trials and is at times sure of a wrong one; perceptrons are vaguer.
    Where they disagree nobody knows, and the mixture's deviation says so.

    Args:
        space: Space of the architectures.
        members: What is mixed.
    """

    space: SearchSpace
    members: Sequence[MakeSurrogate] = (GaussianProcess, MlpEnsemble)

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data."""
        self._fitted = [make(self.space) for make in self.members]
        for member in self._fitted:
            member.fit(indices, costs, rng)

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        told = [member.predict(indices) for member in self._fitted]
        means, stds = np.stack([by.mean for by in told]), np.stack([by.std for by in told])
        variance = (stds**2).mean(axis=0) + means.var(axis=0)
        return Prediction(means.mean(axis=0), np.sqrt(variance))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` draws, as many from one member as from another."""
        parts = np.array_split(np.arange(count), len(self._fitted))
        return np.concatenate(
            [member.sample(indices, len(part), rng) for member, part in zip(self._fitted, parts, strict=True)]
        )
