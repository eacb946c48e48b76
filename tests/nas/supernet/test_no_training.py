from __future__ import annotations

from fakes import tiny_network

from nas import NoTraining, Recipe, Supernet
from nas.tasks import Classification
from nas.testing import check_supernet_training

CLASSES = Classification(10)


def test_no_training_leaves_the_weights_as_they_are() -> None:
    assert NoTraining().phases(Supernet(tiny_network()), Recipe(epochs=1), CLASSES) == []


def test_the_contract_is_kept() -> None:
    check_supernet_training(NoTraining())
