from __future__ import annotations

from functools import partial

from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.circulant_cnn import circulant_cnn


def test_the_contract_is_kept() -> None:
    check_network(partial(circulant_cnn, classes=5), (1, 8, 8), Classification(5), num_random=2)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    assert Supernet(circulant_cnn(classes=10)).space.cardinality() == 1_000
