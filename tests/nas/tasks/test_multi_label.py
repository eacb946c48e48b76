from __future__ import annotations

import torch
from torch.distributions import Bernoulli, kl_divergence

from nas.tasks import MultiLabel


def test_each_label_is_there_or_not_by_itself() -> None:
    task, outputs, others = MultiLabel(3), torch.randn(5, 3), torch.randn(5, 3)
    targets = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]])
    one, other = Bernoulli(logits=outputs), Bernoulli(logits=others)
    assert torch.allclose(task.loss(outputs, targets), -one.log_prob(targets.float()).mean())
    assert torch.allclose(task.entropies(outputs), one.entropy().mean(1), atol=1e-6)
    assert torch.allclose(task.divergences(outputs, others), kl_divergence(one, other).mean(1), atol=1e-5)
    assert task.imitation(outputs, outputs) < task.imitation(others, outputs)
    smoothed = task.loss(outputs, targets, 0.2)
    expected = 0.8 * task.loss(outputs, targets) + 0.1 * (
        task.loss(outputs, torch.ones_like(targets)) + task.loss(outputs, torch.zeros_like(targets))
    )
    assert torch.allclose(smoothed, expected)
