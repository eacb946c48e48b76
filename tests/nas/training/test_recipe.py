from __future__ import annotations

import math

import pytest
from short_training import rates

from nas.errors import StudyError
from nas.training import Recipe


@pytest.mark.parametrize(("count", "epochs"), [(17, 10), (33, 10), (32, 10), (40, 10), (16, 2)])
def test_the_schedule_ends_with_the_training(
    monkeypatch: pytest.MonkeyPatch, count: int, epochs: int
) -> None:
    assert rates(monkeypatch, count, epochs)[-1] < 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"weight_decay": -0.1},
        {"weight_decay": math.nan},
        {"label_smoothing": -0.1},
        {"label_smoothing": 1.5},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": -1.0},
        {"max_grad_norm": math.nan},
        {"accumulate": 0},
        {"batch_size": 8, "accumulate": 9},
        {"precision": "float8"},
        {"ema_decay": 1.0},
        {"ema_decay": -0.1},
    ],
    ids=str,
)
def test_a_recipe_out_of_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(StudyError):
        Recipe(**{"epochs": 1, **settings})  # type: ignore[arg-type]
