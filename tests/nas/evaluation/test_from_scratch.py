from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import tiny_network, trained_tiny_network

from nas import FromScratch, Hurdles, choice
from nas.errors import StudyError
from nas.evaluation.from_scratch import fresh_network, train_from_scratch
from nas.splits import Split
from nas.tasks import Classification
from nas.training import Recipe

CPU, CLASSES = torch.device("cpu"), Classification(10)


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(3)
    first = fresh_network(tiny_network, 0).state_dict()
    torch.manual_seed(4)
    again, other = fresh_network(tiny_network, 0).state_dict(), fresh_network(tiny_network, 1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_making_a_network_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    fresh_network(tiny_network, 7)
    assert torch.equal(torch.rand(2), expected)


def test_an_architecture_begins_with_random_weights_whatever_the_network_comes_with() -> None:
    data, recipe = (
        Split(torch.randn(40, 1, 8, 8), torch.arange(40) % 10),
        Recipe(epochs=1, learning_rate=1e-6),
    )
    architecture = fresh_network(tiny_network, 0).space.largest()
    module = train_from_scratch(trained_tiny_network, architecture, data, CLASSES, recipe, seed=0, device=CPU)
    assert max(parameter.abs().max() for parameter in module.parameters()) < 2


def test_an_architecture_is_trained_the_same_from_the_same_seed() -> None:
    torch.manual_seed(0)
    data, recipe = Split(torch.randn(40, 1, 8, 8), torch.arange(40) % 10), Recipe(epochs=2, batch_size=20)
    architecture = fresh_network(tiny_network, 0).space.smallest()
    trained = [
        train_from_scratch(tiny_network, architecture, data, CLASSES, recipe, seed=seed, device=CPU)
        for seed in (1, 1, 2)
    ]
    images = torch.randn(4, 1, 8, 8)
    assert not trained[0].training
    assert torch.equal(trained[0](images), trained[1](images))
    assert not torch.equal(trained[0](images), trained[2](images))


def test_epochs_are_a_choice_where_there_are_several() -> None:
    assert FromScratch().space.choices == ()
    assert FromScratch(epochs=(2, 4, 8)).space.choices == (choice("training.epochs", 2, 4, 8),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": (4, 2)}, "from small to large"),
        ({"epochs": (2, 2)}, "from small to large"),
        ({"epochs": (2,)}, "two numbers or more"),
        ({"epochs": (0, 2)}, "from 1 on"),
        ({"epochs": (1.0, 2.0)}, "from 1 on"),
        ({"epochs": (True, 2)}, "from 1 on"),
        ({"epochs": ("2", 4)}, "from 1 on"),
        ({"epochs": 8}, r"a tuple such as \(2, 4, 8\)"),
        ({"epochs": (2, 4), "hurdles": Hurdles(after=(1,))}, "hurdles and a choice of epochs"),
    ],
)
def test_epochs_that_are_no_choice_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        FromScratch(**settings)
    assert "\n" not in str(caught.value)


def test_a_run_from_before_knows_its_study() -> None:
    assert repr(FromScratch()) == "FromScratch(hurdles=None)"
    assert repr(FromScratch(Hurdles((1, 2)))) == "FromScratch(hurdles=Hurdles(after=(1, 2), every=16))"
    assert repr(FromScratch(epochs=(1, 2))) == "FromScratch(hurdles=None, epochs=(1, 2))"
