from __future__ import annotations

import numpy as np
from edges import SPACE, rows

from surrogates.boosted_trees import BoostedTrees


def test_the_one_option_that_spoils_everything_is_found() -> None:
    rng = np.random.default_rng(0)
    seen, unseen = rows(60, rng), rows(40, rng)
    trees = BoostedTrees(SPACE, num_members=3, num_trees=20)
    trees.fit(seen, np.where(seen[:, :1] == 2, 100.0, 1.0), rng)
    mean = trees.predict(unseen).mean[:, 0]
    spoiled = unseen[:, 0] == 2
    assert mean[spoiled].min() > 50 > mean[~spoiled].max()


def test_the_latest_trials_are_learned_from() -> None:
    rng = np.random.default_rng(0)
    seen = rows(60, rng)
    costs = np.ones((60, 1))
    costs[:40] = 1000.0  # more than are taken ago
    trees = BoostedTrees(SPACE, num_members=3, num_trees=5, max_points=20)
    trees.fit(seen, costs, rng)
    assert np.allclose(trees.predict(seen).mean, 1.0)
