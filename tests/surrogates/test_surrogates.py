"""What every surrogate of ours must be good for."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from edges import SPACE, cost, rows
from scipy.stats import kendalltau

from nas.strategy import MakeSurrogate
from nas.testing import check_surrogate
from surrogates.boosted_trees import BoostedTrees
from surrogates.cross_validated import CrossValidated
from surrogates.gaussian_process import GaussianProcess
from surrogates.mixture import Mixture
from surrogates.mlp_ensemble import MlpEnsemble

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
