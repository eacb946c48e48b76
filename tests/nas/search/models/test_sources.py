from __future__ import annotations

import numpy as np
import pytest
from earlier_runs import told
from fakes import NearestSurrogate, grid_problem

from nas.search.models.sources import Sources
from nas.space import FloatArray


@pytest.mark.parametrize("values", [np.zeros(9), np.arange(3.0)])
def test_a_source_that_tells_nothing_is_not_heard(values: FloatArray) -> None:
    problem = grid_problem()
    rows = np.unique(problem.space.sample_indices(20, np.random.default_rng(0)), axis=0)[: len(values)]
    assert Sources(told(problem, values, rows), NearestSurrogate).all == ()
