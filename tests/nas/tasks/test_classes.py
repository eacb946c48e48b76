from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from nas.tasks.classes import class_divergences, class_entropies


@pytest.mark.parametrize("positions", [(), (5,), (2, 3)])
def test_entropies_and_divergences_are_torchs_averaged_over_positions(positions: tuple[int, ...]) -> None:
    outputs, others = 3 * torch.randn(2, 4, 6, *positions)
    one, other = (Categorical(logits=logits.movedim(1, -1)) for logits in (outputs, others))
    entropies, divergences = one.entropy().view(4, -1).mean(1), kl_divergence(one, other).view(4, -1).mean(1)
    assert torch.allclose(class_entropies(outputs), entropies, atol=1e-5)
    assert torch.allclose(class_divergences(outputs, others), divergences, atol=1e-5)
