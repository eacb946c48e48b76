from __future__ import annotations

from fakes import tiny_network
from short_training import run_one_batch

from nas import Recipe, SinglePath, Supernet
from nas.tasks import Classification
from nas.testing import check_supernet_training

CLASSES = Classification(10)


def test_a_single_path_is_another_one_for_every_batch() -> None:
    supernet = Supernet(tiny_network())
    (phase,) = SinglePath().phases(supernet, Recipe(epochs=1), CLASSES)
    batches = [run_one_batch(supernet, phase, seed) for seed in range(10)]
    assert {len(batch) for batch in batches} == {1}
    assert len({batch[0] for batch in batches}) > 3


def test_the_contract_is_kept() -> None:
    check_supernet_training(SinglePath())
