from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas.compression.schedules import Gradual, RigL, StaticMask
from nas.errors import StudyError


def test_rigl_exchanges_the_smallest_for_those_that_the_loss_asks_for() -> None:
    weight = nn.Parameter(torch.tensor([[4.0, 3.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))
    weight.grad = torch.tensor([[0.0, 0.0, 0.0, 0.0], [5.0, 9.0, 7.0, 8.0]])
    mask = weight != 0
    renewed = RigL(drop=0.5).renew(weight, mask, 0.5, 0.0)
    assert renewed.tolist() == [[True, True, False, False], [False, True, False, True]]
    assert torch.equal(RigL(drop=0.5, until=0.5).renew(weight, mask, 0.5, 0.5), mask)


def test_gradual_pruning_begins_whole_and_lets_go_of_the_smallest() -> None:
    weight = nn.Parameter(torch.arange(1.0, 9.0))
    schedule = Gradual(until=1.0)
    mask = schedule.begin(weight, 0.25, torch.Generator())
    assert mask.all()
    assert schedule.renew(weight, mask, 0.25, 0.0).all()
    assert schedule.renew(weight, mask, 0.25, 1.0).nonzero().flatten().tolist() == [6, 7]


@pytest.mark.parametrize("num_steps", [1, 2, 10, 1000])
@pytest.mark.parametrize("until", [0.1, 0.75, 1.0])
def test_the_last_update_is_where_changes_end(num_steps: int, until: float) -> None:
    schedule = Gradual(updates=10, until=until)
    due = [step for step in range(num_steps + 1) if schedule.is_due(step, num_steps)]
    assert due[-1] == max(1, int(until * num_steps))
    assert len(due) <= 11


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RigL, {"drop": 0}),
        (RigL, {"drop": 1.0}),
        (RigL, {"updates": 0}),
        (RigL, {"begin_with": "small"}),
        (Gradual, {"until": 0}),
        (Gradual, {"until": 1.1}),
        (Gradual, {"updates": 2.5}),
        (StaticMask, {"begin_with": None}),
    ],
)
def test_schedules_are_checked(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"{kind.__name__} has .*{next(iter(settings))}="):
        kind(**settings)
