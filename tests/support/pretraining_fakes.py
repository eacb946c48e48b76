"""Items and networks to pre-train, and a teacher of some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from nas import Recipe, choice
from nas.supernet import SpecializedEmbedding, elastic
from nas.supernet.token_layers import Embedding, LayerNorm

SHORT = Recipe(epochs=1, batch_size=8)


class Texts(nn.Module):
    """A vector for each token, the mean of them, and two classes."""

    def __init__(self, words: int = 20) -> None:
        super().__init__()
        width = choice("width", 4, 8)
        self.embedding = Embedding(words, width)
        self.norm = LayerNorm(width)
        self.head = elastic.Linear(width, 2)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.embedding(ids)).mean(1))
        return logits


def large_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))


def specialized(folder: Path, **changes: Any) -> SpecializedEmbedding:
    path = folder / "teacher.safetensors"
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        path.write_bytes(safetensors.torch.save(large_network().state_dict()))
    settings: dict[str, Any] = {"size": 3, "sample": 20, **changes}
    return SpecializedEmbedding(SHORT, large_network, path, **settings)


def some_images(count: int = 40) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def some_texts(count: int = 12) -> Tensor:
    return torch.randint(0, 20, (count, 7), generator=torch.Generator().manual_seed(0))
