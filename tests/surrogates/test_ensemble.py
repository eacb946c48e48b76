from __future__ import annotations

import numpy as np

from surrogates.ensemble import combine_members, joint_draws

MEMBERS = np.random.default_rng(0).normal(size=(5, 3, 2))


def test_members_say_their_mean_and_how_far_they_are_apart() -> None:
    agreeing = MEMBERS.copy()
    agreeing[:, 0] = 1.0
    said = combine_members(agreeing, np.array([0.1, 0.2]))
    assert np.allclose(said.mean, agreeing.mean(axis=0))
    assert np.allclose(said.std[1:], np.maximum(agreeing[:, 1:].std(axis=0, ddof=1), [0.1, 0.2]))
    assert said.std[0].tolist() == [0.1, 0.2]


def test_draws_vary_together_as_members_do() -> None:
    draws = joint_draws(MEMBERS, 40_000, np.random.default_rng(1))
    assert draws.shape == (40_000, 3, 2)
    assert np.allclose(draws.mean(axis=0), MEMBERS.mean(axis=0), atol=0.03)
    found, expected = (np.cov(sample.reshape(len(sample), 6), rowvar=False) for sample in (draws, MEMBERS))
    assert np.allclose(found, expected, atol=0.06)
