from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nas.data import ClutteredDigits
from nas.errors import NasError
from nas.testing import check_data_source


def test_the_contract_is_kept() -> None:
    check_data_source(ClutteredDigits(count=200))


def test_a_canvas_holds_the_digit_that_its_class_says() -> None:
    splits = ClutteredDigits(count=200, side=16, pieces=0).load()
    assert [len(part) for part in (splits.train, splits.search, splits.test)] == [120, 40, 40]
    data = load_digits()
    known = data.images[:, None, None] / data.images.max()
    for image, label in zip(np.asarray(splits.test.inputs)[:10, 0], splits.test.targets, strict=False):
        ink = 1 - image / np.quantile(image, 0.9)
        windows = np.lib.stride_tricks.sliding_window_view(ink, (8, 8))
        errors = np.square(windows - known).sum((3, 4)).min((1, 2))
        assert data.target[errors.argmin()] == label
        assert errors.min() < 2, "the grain of 64 pixels alone"


def test_pieces_add_ink_and_change_no_class() -> None:
    none, many = (ClutteredDigits(count=200, pieces=pieces).load() for pieces in (0, 6))
    assert many.train.inputs.double().mean() < none.train.inputs.double().mean() - 3  # type: ignore[union-attr]
    assert torch.equal(none.train.targets.bincount(), many.train.targets.bincount())


def test_the_seed_decides() -> None:
    prints = [ClutteredDigits(count=200, seed=seed).load().fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    "settings",
    [
        {"count": 10},
        {"side": 8},
        {"side": 20},
        {"pieces": -1},
        {"pieces": 17},
        {"seed": -1},
        {"count": 200.0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(NasError):
        ClutteredDigits(**settings)
