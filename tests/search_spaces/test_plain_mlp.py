from __future__ import annotations

from functools import partial

from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.plain_mlp import plain_mlp


def test_the_contract_is_kept() -> None:
    check_network(partial(plain_mlp, classes=5, features=64), (1, 8, 8), Classification(5), num_random=2)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    assert Supernet(plain_mlp(classes=10, features=64)).space.cardinality() == 18
