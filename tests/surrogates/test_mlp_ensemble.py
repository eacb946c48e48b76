from __future__ import annotations

import numpy as np
from edges import SPACE, cost, rows

from surrogates.mlp_ensemble import MlpEnsemble


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
