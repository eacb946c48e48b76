"""What an ensemble's members say together."""

from __future__ import annotations

import numpy as np

from nas.space import FloatArray
from nas.strategy import Prediction


def combine_members(members: FloatArray, smallest_std: FloatArray) -> Prediction:
    """Return mean and standard deviation over the members.

    Args:
        members: ``(k, n, m)`` what each predicts, k >= 2.
        smallest_std: ``(m,)`` no deviation is below.
    """
    return Prediction(members.mean(axis=0), np.maximum(members.std(axis=0, ddof=1), smallest_std))


def joint_draws(members: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return ``(count, n, m)`` joint normal draws with the covariance of the ``(k, n, m)`` members."""
    mean = members.mean(axis=0)
    mixture = rng.standard_normal((count, len(members))) / np.sqrt(len(members) - 1)
    draws: FloatArray = mean + np.einsum("sk,knm->snm", mixture, members - mean)
    return draws
