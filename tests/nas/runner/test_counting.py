"""What is counted of a study's architectures, whose first choices are the network's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fakes import tiny_study

from nas import (
    Accuracy,
    Constraint,
    FromScratch,
    Hurdles,
    Int8,
    Macs,
    NumParams,
    Pipeline,
    Prune,
    Recipe,
    Study,
    TrainingMacs,
)
from nas.errors import InfeasibleError, StudyError
from nas.runner.preparation import Prepared, prepare
from nas.runner.profile import profile
from nas.strategy import Problem
from nas.study import limitable

CPU = torch.device("cpu")


def big_study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "objectives": (Accuracy(), NumParams(), TrainingMacs()),
        "recipe": Recipe(epochs=4),
        "training": FromScratch(epochs=(1, 2, 4)),
        "pipeline": Pipeline(Prune(keep=(0.5, 1.0)), Int8(bits=(8, 32))),
    }
    return tiny_study(**{**settings, **changes})


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(big_study(), CPU)


def test_choices_of_the_training_stand_between_the_networks_and_the_passes(prepared: Prepared) -> None:
    names = [choice.name for choice in prepared.problem.space.choices]
    own = [choice.name for choice in prepared.supernet.space.choices]
    assert names == [*own, "training.epochs", "prune.keep", "int8.bits"]
    assert prepared.problem.space.cardinality() == 3 * 2 * 2 * prepared.supernet.space.cardinality()


def test_a_training_is_three_passes_over_all_items_in_each_epoch(prepared: Prepared) -> None:
    space = prepared.problem.space
    rows = space.sample_indices(50, np.random.default_rng(0))
    counts = prepared.counts(rows)
    epochs = [int(str(architecture["training.epochs"])) for architecture in space.from_indices(rows)]
    assert set(epochs) == {1, 2, 4}
    assert counts.training_macs is not None
    assert np.array_equal(
        counts.training_macs, 3 * counts.macs * len(prepared.splits.train) * np.array(epochs)
    )
    assert set(prepared.problem.count(rows)) == {"training_macs"}, "passes change the parameters"
    assert np.array_equal(prepared.problem.count(rows)["training_macs"], counts.training_macs)


def test_without_a_choice_all_are_trained_for_the_recipes_epochs() -> None:
    prepared = prepare(big_study(training=FromScratch()), CPU)
    rows = prepared.problem.space.sample_indices(5, np.random.default_rng(0))
    counts = prepared.counts(rows)
    assert counts.training_macs is not None
    assert np.array_equal(counts.training_macs, 3.0 * counts.macs * len(prepared.splits.train) * 4)


@pytest.mark.parametrize("training", [None, FromScratch(Hurdles(after=(1,)))])
def test_no_training_is_counted_where_none_is_known(training: FromScratch | None) -> None:
    changes = {} if training is None else {"training": training}
    prepared = prepare(tiny_study(**changes), CPU)
    assert (
        prepared.counts(prepared.problem.space.indices([prepared.problem.space.largest()])).training_macs
        is None
    )


def test_a_limit_on_the_training_is_hard_though_passes_change_the_network(prepared: Prepared) -> None:
    space = prepared.problem.space
    ends = space.indices([space.smallest(), space.largest()])
    least, most = prepared.problem.count(ends)["training_macs"]
    limited = big_study(constraints=(Constraint(TrainingMacs(), float(least)),))
    assert limited.soft_limits == {}
    problem: Problem = prepare(limited, CPU).problem
    assert problem.violation(ends)[0] == 0 < problem.violation(ends)[1]
    with pytest.raises(InfeasibleError, match="training_macs is"):
        prepare(big_study(constraints=(Constraint(TrainingMacs(), float(least) / 2),)), CPU)
    assert least < most


def test_a_profile_is_of_all_choices() -> None:
    found = profile(big_study(), 50)
    assert "504 architectures" in found.headline()
    training = next(cost for cost in found.costs if cost.quantity.objective.name == "training_macs")
    assert training.smallest <= training.sample[0] < training.sample[-1] <= training.largest


def test_users_may_limit_the_training_where_it_is_known() -> None:
    assert "training_macs" in limitable(tiny_study(training=FromScratch()))
    assert "training_macs" not in limitable(tiny_study())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": (Accuracy(), TrainingMacs())}, "counts the MACs of a candidate's training"),
        ({"constraints": (Constraint(TrainingMacs(), 1e9),)}, "counts the MACs of a candidate's training"),
        (
            {"objectives": (Accuracy(), TrainingMacs()), "training": FromScratch(Hurdles(after=(1,)))},
            "without hurdles",
        ),
        ({"training": FromScratch(epochs=(1, 4))}, "the recipe 2: the largest choice is the whole"),
    ],
)
def test_studies_whose_training_does_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        tiny_study(**changes)
    assert "\n" not in str(caught.value)


def test_other_quantities_are_known_ahead_as_before() -> None:
    assert not big_study().knows_ahead(Macs())
    assert big_study(pipeline=Pipeline(Int8(bits=(8, 32)))).knows_ahead(Macs())
    assert big_study().knows_ahead(TrainingMacs())
