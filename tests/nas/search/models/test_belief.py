from __future__ import annotations

import numpy as np

from nas.search.models.belief import Believer
from search_spaces.digits_mlp import digits_mlp_table


def test_a_source_is_believed_as_far_as_it_is_right() -> None:
    table = digits_mlp_table()
    rng = np.random.default_rng(0)
    rows = rng.choice(len(table.costs), 30, replace=False)
    right = (table.costs[:, 0] - table.costs[:, 0].mean()) / table.costs[:, 0].std()
    wrong = rng.permutation(right)
    said = np.stack([right + 0.3 * rng.standard_normal(len(right)), wrong], axis=1)
    believer = Believer(table.space, table.positions[rows], right[rows], said[rows])
    assert believer.weights[0] > 0.3
    assert abs(believer.weights[1]) < 0.15
    mean, std = believer.predict(table.positions, said)
    surprises = np.delete((right - mean) / std, rows)
    assert 0.5 < np.mean(np.abs(surprises) < 1) < 0.9
    assert np.corrcoef(mean, right)[0, 1] > 0.9
