"""What every surrogate of ours must be good for."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.choices import choice
from nas.space import SearchSpace
from nas.strategy import MakeSurrogate
from nas.testing import check_surrogate
from surrogates.boosted_trees import BoostedTrees
from surrogates.cross_validated import CrossValidated
from surrogates.gaussian_process import GaussianProcess
from surrogates.mixture import Mixture
from surrogates.mlp_ensemble import MlpEnsemble

SPACE = SearchSpace(tuple(choice(f"edge{n}", "none", "skip", "conv", "pool") for n in range(6)))

FAST: dict[str, MakeSurrogate] = {
    "perceptrons": partial(MlpEnsemble, steps=30),
    "Gaussian process": partial(GaussianProcess, restarts=1, iterations=10),
    "trees": partial(BoostedTrees, num_members=4, num_trees=10),
    "mixture": partial(
        Mixture,
        members=(partial(GaussianProcess, restarts=1, iterations=10), partial(MlpEnsemble, steps=30)),
    ),
    "chosen": partial(
        CrossValidated,
        candidates=(
            partial(GaussianProcess, restarts=1, iterations=5),
            partial(BoostedTrees, num_members=3, num_trees=5),
        ),
        folds=2,
    ),
}
OURS: dict[str, MakeSurrogate] = {
    "perceptrons": MlpEnsemble,
    "Gaussian process": GaussianProcess,
    "trees": BoostedTrees,
    "mixture": Mixture,
    "chosen": partial(CrossValidated, candidates=(GaussianProcess, MlpEnsemble), folds=2),
}


def rows(count: int, rng: np.random.Generator) -> np.ndarray:
    return SPACE.sample_indices(count, rng)


def cost(indices: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(7).normal(size=24)
    linear = SPACE.encode(indices) @ weights
    return np.stack([linear, np.exp(0.3 * linear)], axis=1)


@pytest.mark.parametrize("make", FAST.values(), ids=FAST.keys())
def test_the_contract_is_kept(make: MakeSurrogate) -> None:
    check_surrogate(make)


@pytest.mark.parametrize("make", OURS.values(), ids=OURS.keys())
def test_it_learns_to_rank_what_it_has_not_seen(make: MakeSurrogate) -> None:
    rng = np.random.default_rng(0)
    seen, unseen = rows(80, rng), rows(200, rng)
    surrogate = make(SPACE)
    surrogate.fit(seen, cost(seen), rng)
    mean = surrogate.predict(unseen).mean
    for column in range(2):
        assert kendalltau(mean[:, column], cost(unseen)[:, column]).statistic > 0.6


@pytest.mark.parametrize("make", FAST.values(), ids=FAST.keys())
def test_the_scale_of_a_cost_scales_the_prediction(make: MakeSurrogate) -> None:
    rng = np.random.default_rng(0)
    seen, unseen = rows(40, rng), rows(20, rng)
    predictions = []
    for scale in (1.0, 1024.0):
        surrogate = make(SPACE)
        surrogate.fit(seen, scale * cost(seen), np.random.default_rng(1))
        predictions.append(surrogate.predict(unseen))
    assert np.allclose(1024.0 * predictions[0].mean, predictions[1].mean, rtol=1e-4, atol=1e-2)
    assert np.allclose(1024.0 * predictions[0].std, predictions[1].std, rtol=1e-4)


def test_its_settings_are_told_by_its_repr() -> None:
    assert repr(MlpEnsemble(SPACE, hidden=9)) != repr(MlpEnsemble(SPACE))


def test_perceptrons_are_less_sure_where_costs_are_noise() -> None:
    rng = np.random.default_rng(0)
    seen, unseen = rows(60, rng), rows(60, rng)
    stds = []
    for values in (cost(seen)[:, :1], cost(seen)[:, :1] + rng.normal(0, 5, size=(60, 1))):
        surrogate = MlpEnsemble(SPACE)
        surrogate.fit(seen, values, np.random.default_rng(1))
        stds.append(surrogate.predict(unseen).std.mean())
    assert stds[1] > 2 * stds[0]


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


def test_the_chosen_one_is_better_on_held_out_trials() -> None:
    """Costs that one perceptron's worth of trials can't tell from noise, but trees can."""
    rng = np.random.default_rng(0)
    seen = rows(120, rng)
    spoiled = np.where((seen[:, :2] == 0).any(axis=1), 10.0, 0.0)[:, None]
    chooser = CrossValidated(
        SPACE, candidates=(partial(MlpEnsemble, steps=2), partial(BoostedTrees, num_members=4)), folds=3
    )
    chooser.fit(seen, spoiled, rng)
    assert chooser.chosen == [1]
