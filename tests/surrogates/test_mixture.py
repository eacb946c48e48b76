from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from edges import SPACE, cost, rows

from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction
from surrogates.mixture import Mixture


@dataclass
class Same:
    """Predicts one number of everything, and is as sure of it as it is told to."""

    space: SearchSpace
    mean: float
    std: float

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        self.shape = costs.shape[1]

    def predict(self, indices: IntArray) -> Prediction:
        shape = (len(indices), self.shape)
        return Prediction(np.full(shape, self.mean), np.full(shape, self.std))

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        return self.predict(indices).sample(count, rng)


def test_where_members_disagree_the_deviation_says_so() -> None:
    rng = np.random.default_rng(0)
    seen = rows(5, rng)
    members = (lambda space: Same(space, 1.0, 0.3), lambda space: Same(space, 3.0, 0.4))
    mixture = Mixture(SPACE, members)
    mixture.fit(seen, cost(seen), rng)
    said = mixture.predict(seen)
    assert np.all(said.mean == 2.0)
    assert np.allclose(said.std, np.sqrt((0.09 + 0.16) / 2 + 1.0))  # the variance of an equal mixture
    draws = mixture.sample(seen, 4001, rng)
    assert draws.shape == (4001, 5, 2)
    assert (draws < 2).mean() == pytest.approx(0.5, abs=0.02)  # half from each member
