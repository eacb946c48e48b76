"""A surrogate that learns from the trials how much of what sources say is so."""

from __future__ import annotations

from typing import final

import numpy as np

from nas.protocols import Prediction, Surrogate
from nas.search.belief import MAX_BELIEVED, Believer
from nas.search.sources import Sources, drawn_from, said_by
from nas.space import FloatArray, IntArray, SearchSpace


@final
class InformedSurrogate:
    """A cost that sources tell of is predicted by a Gaussian process that weighs them; others by a surrogate.

    The process is a :class:`nas.search.belief.Believer`. A prediction is as uncertain as it, and as what sources say,
    as far as they are believed. Once there are more trials than it takes, these tell more than
    sources do, and the surrogate predicts all costs.

    Args:
        space: Space of the architectures.
        surrogate: Untrained.
        sources: What is known of the costs.
    """

    def __init__(self, space: SearchSpace, surrogate: Surrogate, sources: Sources) -> None:
        self._space, self._surrogate, self._sources = space, surrogate, sources.by_column
        self._believers: dict[int, Believer] = {}

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data."""
        told = [column for column, sources in enumerate(self._sources) if sources]
        self._believers = {
            column: Believer(
                self._space, indices, costs[:, column], said_by(self._sources[column], indices)[0]
            )
            for column in (told if len(costs) <= MAX_BELIEVED else [])
        }
        self._rest = [column for column in range(costs.shape[1]) if column not in self._believers]
        if self._rest:
            self._surrogate.fit(indices, costs[:, self._rest], rng)

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        mean, std = np.zeros((2, len(indices), len(self._sources)))
        if self._rest:
            rest = self._surrogate.predict(indices)
            mean[:, self._rest], std[:, self._rest] = rest.mean, rest.std
        for column, believer in self._believers.items():
            said, stds = said_by(self._sources[column], indices)
            mean[:, column], own = believer.predict(indices, said)
            std[:, column] = np.sqrt(own**2 + stds**2 @ believer.weights**2)
        return Prediction(mean, std)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint draws of the costs."""
        costs = np.zeros((count, len(indices), len(self._sources)))
        if self._rest:
            costs[:, :, self._rest] = self._surrogate.sample(indices, count, rng)
        for column, believer in self._believers.items():
            sources = self._sources[column]
            said, _stds = said_by(sources, indices)
            costs[:, :, column] = believer.sample(indices, said, count, rng)
            costs[:, :, column] += (drawn_from(sources, indices, count, rng) - said) @ believer.weights
        return costs
