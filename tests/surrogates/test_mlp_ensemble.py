from __future__ import annotations

from functools import partial

import numpy as np
from scipy.stats import kendalltau

from nas.testing import check_surrogate
from surrogates.mlp_ensemble import MlpEnsemble


def one_hot(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.eye(4)[rng.integers(0, 4, size=(count, 6))].reshape(count, 24)


def cost(encodings: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(7).normal(size=24)
    linear = encodings @ weights
    return np.stack([linear, np.exp(0.3 * linear)], axis=1)


def test_the_contract_is_kept() -> None:
    check_surrogate(partial(MlpEnsemble, steps=30))


def test_it_learns_to_rank_what_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    seen, unseen = one_hot(80, rng), one_hot(200, rng)
    surrogate = MlpEnsemble()
    surrogate.fit(seen, cost(seen), rng)
    mean = surrogate.predict(unseen).mean
    for column in range(2):
        assert kendalltau(mean[:, column], cost(unseen)[:, column]).statistic > 0.7


def test_it_is_less_sure_where_costs_are_noise() -> None:
    rng = np.random.default_rng(0)
    seen, unseen = one_hot(60, rng), one_hot(60, rng)
    clear, noisy = cost(seen)[:, :1], cost(seen)[:, :1] + rng.normal(0, 5, size=(60, 1))
    stds = []
    for values in (clear, noisy):
        surrogate = MlpEnsemble()
        surrogate.fit(seen, values, np.random.default_rng(1))
        stds.append(surrogate.predict(unseen).std.mean())
    assert stds[1] > 2 * stds[0]


def test_the_scale_of_a_cost_scales_the_prediction() -> None:
    rng = np.random.default_rng(0)
    seen, unseen = one_hot(40, rng), one_hot(20, rng)
    predictions = []
    for scale in (1.0, 1024.0):
        surrogate = MlpEnsemble(steps=30)
        surrogate.fit(seen, scale * cost(seen), np.random.default_rng(1))
        predictions.append(surrogate.predict(unseen))
    assert np.allclose(1024.0 * predictions[0].mean, predictions[1].mean, rtol=1e-4, atol=1e-2)
    assert np.allclose(1024.0 * predictions[0].std, predictions[1].std, rtol=1e-4)


def test_its_settings_are_told_by_its_repr() -> None:
    assert repr(MlpEnsemble(hidden=9)) != repr(MlpEnsemble())
