from __future__ import annotations

import numpy as np
from edges import SPACE, cost, rows

from surrogates.gaussian_process import GaussianProcess


def test_a_gaussian_process_is_sure_of_what_it_has_seen() -> None:
    rng = np.random.default_rng(0)
    seen = np.unique(rows(40, rng), axis=0)
    far = np.array([row for row in rows(200, rng) if (row != seen).sum(axis=1).min() >= 3])
    surrogate = GaussianProcess(SPACE)
    surrogate.fit(seen, cost(seen), rng)
    assert surrogate.predict(seen).std.max() < surrogate.predict(far).std.min()


def test_options_that_choices_share_are_learned_together() -> None:
    """The last choice was only ever seen at one option; what the others taught holds for it too."""
    rng = np.random.default_rng(0)
    worth = np.array([0.0, 1.0, 4.0, 2.0])
    seen = rows(60, rng)
    seen[:, 5] = 0
    surrogate = GaussianProcess(SPACE)
    surrogate.fit(seen, worth[seen].sum(axis=1, keepdims=True), rng)
    near, far = np.tile(seen[0], (2, 1))
    near[5], far[5] = 1, 2
    moved = surrogate.predict(np.stack([seen[0], near, far])).std[:, 0]
    assert moved[0] < moved[1] < moved[2]


def test_more_trials_than_a_gaussian_process_takes_are_thinned_near_the_front_last() -> None:
    rng = np.random.default_rng(0)
    seen = np.unique(rows(400, rng), axis=0)
    surrogate = GaussianProcess(SPACE, restarts=1, iterations=5, max_fitted=40, max_points=80)
    surrogate.fit(seen, cost(seen), rng)
    best = cost(seen)[:, 0].argsort()[:5]
    assert np.allclose(surrogate.predict(seen[best]).mean[:, 0], cost(seen)[best, 0], atol=0.5)
