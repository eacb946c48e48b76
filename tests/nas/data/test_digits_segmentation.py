from __future__ import annotations

import pytest
import torch

from nas.data import DigitsSegmentation
from nas.data.loading import check_splits
from nas.errors import NasError
from nas.testing import check_data_source


def test_the_contract_is_kept() -> None:
    check_data_source(DigitsSegmentation(count=200))


def test_canvases_hold_digits_and_paper() -> None:
    splits = DigitsSegmentation(count=300, side=36).load()
    check_splits(splits, "load()")
    assert [len(part) for part in (splits.train, splits.search, splits.test)] == [180, 60, 60]
    assert splits.inputs.shapes == ((1, 36, 36),)
    assert isinstance(splits.train.inputs, torch.Tensor)
    ink = splits.train.targets > 0
    paper, digits = (splits.train.inputs[:, 0][where].float().mean() for where in (~ink, ink))
    assert digits < paper - 50
    assert 0.05 < ink.float().mean() < 0.25
    assert len(splits.facts.names) == 11
    per_canvas = [len(mask.unique()) - 1 for mask in splits.train.targets]
    assert set(per_canvas) == {1, 2, 3}, "two or three digits, maybe of one class"


def test_the_seed_decides() -> None:
    prints = [DigitsSegmentation(count=200, seed=seed).load().fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    "settings", [{"count": 10}, {"side": 20}, {"digits": 0}, {"digits": 11}, {"seed": -1}, {"count": 200.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(NasError):
        DigitsSegmentation(**settings)
