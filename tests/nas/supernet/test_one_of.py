from __future__ import annotations

import pytest
import torch
from torch import nn

from nas import choice
from nas.errors import SpaceError
from nas.evaluation import NetworkCounter
from nas.supernet import Supernet, elastic
from nas.supernet.one_of import OneOf


def small() -> nn.Module:
    width = choice("width", 2, 4)
    wide = nn.Sequential(
        elastic.Linear(3, choice("hidden", 5, 8)), elastic.Linear(choice("hidden", 5, 8), width)
    )
    layers = {"wide": wide, "plain": elastic.Linear(3, width)}
    return nn.Sequential(OneOf(choice("kind", "wide", "plain"), layers), elastic.Linear(width, 2))


def test_choices_of_a_layer_that_is_not_in_use_don_t_matter() -> None:
    space = Supernet(small()).space
    assert space.cardinality() == 2 * 2 + 2
    plain = [space.architecture({"kind": "plain", "width": 2, "hidden": hidden}) for hidden in (5, 8)]
    assert plain[0] == plain[1]


def test_what_is_extracted_is_the_layer_itself() -> None:
    supernet = Supernet(small())
    plain = supernet.extract(supernet.space.architecture({"kind": "plain", "width": 2, "hidden": 5}))
    assert type(plain[0]) is nn.Linear
    assert plain(torch.zeros(1, 3)).shape == (1, 2)


def test_costs_are_tabulated_though_no_architecture_uses_all_layers() -> None:
    supernet = Supernet(small()).eval()
    counter = NetworkCounter(supernet, (3,))
    assert counter.tables is not None
    rows = supernet.space.indices(
        supernet.space.architecture({"kind": kind, "width": 4, "hidden": 8}) for kind in ("wide", "plain")
    )
    assert counter.counts(rows).macs.tolist() == [3 * 8 + 8 * 4 + 4 * 2, 3 * 4 + 4 * 2]


def test_an_option_without_a_layer_is_a_sentence() -> None:
    with pytest.raises(SpaceError, match="one for each option"):
        OneOf(choice("kind", "a", "b"), {"a": nn.Identity()})
