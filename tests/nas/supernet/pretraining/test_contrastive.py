from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nas.supernet.pretraining.contrastive import nt_xent


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_contrast_is_equation_1_of_the_paper(temperature: float) -> None:
    count, vectors = 3, torch.randn(6, 5, dtype=torch.float64)
    cosine = nn.functional.cosine_similarity

    def loss(i: int, j: int) -> float:
        similar = [math.exp(cosine(vectors[i], vectors[k], dim=0).item() / temperature) for k in range(6)]
        return -math.log(similar[j] / sum(similar[k] for k in range(6) if k != i))

    wanted = sum(loss(k, k + count) + loss(k + count, k) for k in range(count)) / (2 * count)
    assert nt_xent(vectors, temperature).item() == pytest.approx(wanted, rel=1e-9)
