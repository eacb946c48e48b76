from __future__ import annotations

import numpy as np
import pytest

from nas.evaluation import Flops, Macs, NumParams, WeightBytes
from nas.protocols import CountedObjective, Counts
from nas.testing import check_counted_objective


@pytest.mark.parametrize("objective", [Macs(), Flops(), NumParams(), WeightBytes(), WeightBytes(1)], ids=str)
def test_the_contract_is_kept(objective: CountedObjective) -> None:
    check_counted_objective(objective)


def test_each_counts_what_it_says() -> None:
    counts = Counts(np.array([10, 20]), np.array([3, 5]))
    assert Macs().count(counts).tolist() == [10, 20]
    assert Flops().count(counts).tolist() == [20, 40]
    assert NumParams().count(counts).tolist() == [3, 5]
    assert WeightBytes().count(counts).tolist() == [12, 20]
    assert WeightBytes(bytes_per_param=1).count(counts).tolist() == [3, 5]
