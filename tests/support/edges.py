"""A cell of six edges with four operations each, whose costs are to be learned."""

from __future__ import annotations

import numpy as np

from nas.choices import choice
from nas.space import FloatArray, IntArray, SearchSpace

SPACE = SearchSpace(tuple(choice(f"edge{n}", "none", "skip", "conv", "pool") for n in range(6)))


def rows(count: int, rng: np.random.Generator) -> IntArray:
    """Return random rows of indices."""
    return SPACE.sample_indices(count, rng)


def cost(indices: IntArray) -> FloatArray:
    """Return two costs of each row: a sum over the edges, and its exponential."""
    weights = np.random.default_rng(7).normal(size=24)
    linear = SPACE.encode(indices) @ weights
    return np.stack([linear, np.exp(0.3 * linear)], axis=1)
