"""The sandwich rule with in-place distillation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.supernet.supernet import Supernet
from nas.training import Recipe, Step


def sandwich_step(supernet: Supernet, recipe: Recipe, *, num_random: int = 2) -> Step:
    """Return a step that trains the largest subnet, the smallest, and random ones in between.

    The largest learns from the labels, the others from what it predicts (Yu 2019). The losses add up,
    as there; the gradient norm is clipped by the training loop.

    Args:
        supernet: What is trained.
        recipe: For the label smoothing.
        num_random: Subnets between the largest and the smallest.
    """
    largest, smallest = supernet.space.largest(), supernet.space.smallest()
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def step(images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
        with supernet.active(largest):
            logits = supernet(images)
            loss: Tensor = criterion(logits, labels)
            loss.backward()
        teacher = logits.detach().softmax(dim=1)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        for architecture in [supernet.space.sample(rng) for _ in range(num_random)] + [smallest]:
            with supernet.active(architecture):
                student: Tensor = F.cross_entropy(supernet(images), teacher)
                student.backward()
        return loss.item()

    return step
