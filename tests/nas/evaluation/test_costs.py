from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nas.errors import ObjectiveError
from nas.evaluation import Flops, Macs, NumParams, TrainingMacs, WeightBytes
from nas.evaluation.costs import count_costs, follows_file, follows_passes
from nas.objective import Objective
from nas.objectives import CountedObjective, Counts
from nas.testing import check_counted_objective


@pytest.mark.parametrize(
    "objective", [Macs(), Flops(), NumParams(), WeightBytes(), WeightBytes(1), TrainingMacs()], ids=str
)
def test_the_contract_is_kept(objective: CountedObjective) -> None:
    check_counted_objective(objective)


def test_each_counts_what_it_says() -> None:
    counts = Counts(np.array([10, 20]), np.array([3, 5]))
    assert Macs().count(counts).tolist() == [10, 20]
    assert Flops().count(counts).tolist() == [20, 40]
    assert NumParams().count(counts).tolist() == [3, 5]
    assert WeightBytes().count(counts).tolist() == [12, 20]
    assert WeightBytes(bytes_per_param=1).count(counts).tolist() == [3, 5]


def test_a_training_is_counted_where_there_is_one() -> None:
    counts = Counts(np.array([10]), np.array([3]))
    with pytest.raises(ObjectiveError, match=r"use it with training=FromScratch\(\)"):
        count_costs(TrainingMacs(), counts)
    known = dataclasses.replace(counts, training_macs=np.array([7e20]))
    assert count_costs(TrainingMacs(), known).tolist() == [7e20]


@pytest.mark.parametrize(
    ("quantity", "file", "passes"),
    [
        (Macs(), False, True),
        (Flops(), False, True),
        (NumParams(), False, True),
        (WeightBytes(), True, True),
        (TrainingMacs(), False, False),
    ],
    ids=str,
)
def test_what_a_quantity_depends_on(quantity: CountedObjective, file: bool, passes: bool) -> None:
    assert follows_file(quantity) == file
    assert follows_passes(quantity) == passes


class Own:
    objective = Objective("energy_mj", "mJ", "minimize")

    def __init__(self, count: Callable[[Counts], object]) -> None:
        self.count = count


COUNTS = Counts(np.array([10, 20]), np.array([3, 5]))


@pytest.mark.parametrize(
    "count",
    [
        lambda counts: [][1],
        lambda counts: sys.exit(3),
        lambda: None,
        lambda counts: None,
        lambda counts: "many",
        lambda counts: np.array(["1", "2"]),
        lambda counts: 1.0,
        lambda counts: np.ones(3),
        lambda counts: np.ones((2, 2)),
        lambda counts: np.ones((2, 1)),
        lambda counts: [[1], [1, 2]],
        lambda counts: np.array([object(), object()]),
        lambda counts: counts.macs * 1j,
        lambda counts: torch.ones(2, requires_grad=True),
    ],
)
def test_what_is_not_a_number_per_architecture_is_a_sentence(count: Callable[[Counts], object]) -> None:
    with pytest.raises(ObjectiveError, match=r"count\(\) of 'energy_mj'") as caught:
        count_costs(Own(count), COUNTS)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "count", [lambda counts: [1, 2], lambda counts: torch.tensor([1, 2]), lambda counts: np.float32([1, 2])]
)
def test_numbers_of_any_kind_become_floats(count: Callable[[Counts], object]) -> None:
    values = count_costs(Own(count), COUNTS)  # type: ignore[arg-type]
    assert values.dtype == np.float64
    assert values.tolist() == [1.0, 2.0]
