from __future__ import annotations

import pytest
import torch
from lessons import items, linears, losses_of

from nas.errors import StudyError
from nas.training import (
    BalancedDistillation,
)


def test_balanced_divergences_follow_who_is_more_certain() -> None:
    student, teacher = linears(2)
    loss, of_teacher = losses_of(BalancedDistillation(weight=1.0, balance=1.0), student, [teacher])
    p, q = (network(items()[0]).softmax(1) for network in (student, teacher))
    forward, reverse = (q * (q / p).log()).sum(1), (p * (p / q).log()).sum(1)
    too_certain = -(p * p.log()).sum(1) < -(q * q.log()).sum(1)
    assert 0 < too_certain.sum() < len(too_certain)
    assert torch.allclose(loss, torch.where(too_certain, forward, reverse).mean(), atol=1e-6)
    assert torch.allclose(of_teacher, reverse.mean(), atol=1e-6)


def test_a_balance_is_for_the_larger_share() -> None:
    with pytest.raises(StudyError, match=r"balance=0.4: 0.5 to 1"):
        BalancedDistillation(balance=0.4)
