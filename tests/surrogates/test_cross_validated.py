from __future__ import annotations

from functools import partial

import numpy as np
from edges import SPACE, rows

from surrogates.boosted_trees import BoostedTrees
from surrogates.cross_validated import CrossValidated
from surrogates.mlp_ensemble import MlpEnsemble


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
