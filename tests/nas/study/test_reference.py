from __future__ import annotations

from functools import partial

import pytest
from fakes import tiny_network
from torch import nn
from torchvision.transforms import v2

from nas import Recipe
from nas.errors import StudyError
from nas.study import network_reference, stable_repr


def test_a_repr_without_addresses_is_equal_in_every_process() -> None:
    class Plain:
        pass

    shake = partial(lambda image: image, 3)
    assert stable_repr(Plain()) == stable_repr(Plain())
    assert "0x" not in stable_repr([Plain(), shake])
    recipes = [Recipe(epochs=1, augment=v2.RandomAffine(degrees=d)) for d in (5, 5, 6)]
    assert stable_repr(recipes[0]) == stable_repr(recipes[1]) != stable_repr(recipes[2])


def test_a_network_is_told_by_name_and_arguments() -> None:
    reference = network_reference(partial(tiny_network, classes=10))
    assert reference == {"factory": "fakes:tiny_network", "arguments": {"classes": 10}}
    assert network_reference(tiny_network) == {"factory": "fakes:tiny_network", "arguments": {}}


def test_an_argument_without_a_name_is_refused() -> None:
    with pytest.raises(StudyError, match="name the arguments"):
        network_reference(partial(tiny_network, 10))


def test_arguments_may_be_tuples_lists_and_dictionaries_of_plain_values() -> None:
    reference = network_reference(partial(tiny_network, widths=(8, [16]), named={"a": None}))
    assert reference == {
        "factory": "fakes:tiny_network",
        "arguments": {"widths": {"tuple": [8, [16]]}, "named": {"dict": {"a": None}}},
    }


@pytest.mark.parametrize(
    "network",
    [
        lambda: tiny_network(),
        partial(tiny_network, classes=nn.ReLU),
        partial(tiny_network, classes=(1, nn.ReLU)),
    ],
)
def test_what_has_no_plain_name_says_so(network: object) -> None:
    assert "<" in str(network_reference(network)["factory"])  # type: ignore[arg-type]
