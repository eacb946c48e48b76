"""Elastic layers of Transformers. Import what a network needs beside ``nas.supernet.elastic``.

As there, each layer owns the weights of its largest form and uses the leading slice of what is active, a
view. Heads are whole: a projection to ``heads * head_size`` features gives the first heads.
"""

from __future__ import annotations

from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size, largest_value


@final
class LayerNorm(nn.Module):
    """Elastic width; otherwise ``torch.nn.LayerNorm`` over the last axis.

    Args:
        width: Size of the last axis.
        eps: As in torch.
    """

    def __init__(self, width: Size, *, eps: float = 1e-5) -> None:
        super().__init__()
        largest = largest_value(width)
        self.width = cast(int, width)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(largest))
        self.bias = nn.Parameter(torch.zeros(largest))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise over the active features."""
        count = self.width
        return F.layer_norm(inputs, (count,), self.weight[:count], self.bias[:count], self.eps)

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return the active part as ``torch.nn.LayerNorm``."""
        count = self.width
        layer = nn.LayerNorm(count, self.eps, device=self.weight.device, dtype=self.weight.dtype)
        layer.weight.copy_(self.weight[:count])
        layer.bias.copy_(self.bias[:count])
        return layer

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        return 2 * self.width

    def macs_per_position(self) -> int:
        """Return 0: torch's counter doesn't count normalisation."""
        return 0


@final
class Embedding(nn.Module):
    """Elastic width; otherwise ``torch.nn.Embedding``.

    Args:
        num_embeddings: How many ids there are.
        width: Features of one.

    Shape:
        ``(n, length)`` int64 to ``(n, length, width)``.
    """

    def __init__(self, num_embeddings: int, width: Size) -> None:
        super().__init__()
        self.width = cast(int, width)
        self.weight = nn.Parameter(torch.empty(num_embeddings, largest_value(width)))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up the active features."""
        return F.embedding(ids, self.weight[:, : self.width])

    def extract(self) -> nn.Module:
        """Return the active part as ``torch.nn.Embedding``."""
        weight = self.weight.detach()[:, : self.width].clone(memory_format=torch.contiguous_format)
        layer: nn.Module = nn.Embedding.from_pretrained(weight, freeze=False)
        return layer

    def num_active_params(self) -> int:
        """Return how many numbers the active weight holds."""
        return len(self.weight) * self.width

    def macs_per_position(self) -> int:
        """Return 0: a look-up multiplies nothing."""
        return 0


@final
class Positions(nn.Module):
    """Adds a learned vector of elastic width to every position.

    Args:
        length: Length of the sequences.
        width: Features of one position.

    Shape:
        ``(n, length, width)``, unchanged.
    """

    def __init__(self, length: int, width: Size) -> None:
        super().__init__()
        self.width = cast(int, width)
        self.weight = nn.Parameter(torch.empty(length, largest_value(width)))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, inputs: Tensor) -> Tensor:
        """Add the active features."""
        return inputs + self.weight[:, : self.width]

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return the active part as a module of plain torch."""
        layer = PlainPositions(self.weight.new_empty(len(self.weight), self.width))
        layer.weight.copy_(self.weight[:, : self.width])
        return layer

    def num_active_params(self) -> int:
        """Return how many numbers the active weight holds."""
        return len(self.weight) * self.width

    def macs_per_position(self) -> int:
        """Return 0: torch's counter doesn't count additions."""
        return 0


@final
class PlainPositions(nn.Module):
    """Adds a learned vector to every position.

    Args:
        weight: ``(length, width)`` initial vectors.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Add them to ``(n, length, width)`` inputs."""
        return inputs + self.weight


@final
class HeadMixing(nn.Module):
    """Scaled dot-product attention (Vaswani 2017, section 3.2) with an elastic number of heads; no weights.

    Args:
        heads: How many.
        head_size: Features of one.

    Shape:
        Queries ``(n, length, heads * head_size)`` to the same; keys and values may be of another length.
    """

    def __init__(self, heads: Size, head_size: int) -> None:
        super().__init__()
        largest_value(heads)
        self.heads = cast(int, heads)
        self.head_size = head_size
        self._num_keys = 0

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix the values; ``mask`` ``(n, 1, 1 or queries, keys)`` is added to the scores."""
        self._num_keys = int(keys.shape[1])
        return _attend(queries, keys, values, mask, self.heads, self.head_size)

    def extract(self) -> nn.Module:
        """Return the active part as a module of plain torch."""
        return PlainHeadMixing(self.heads, self.head_size)

    def num_active_params(self) -> int:
        """Return 0."""
        return 0

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per query, for as many keys as the last forward pass had."""
        return 2 * self._num_keys * self.heads * self.head_size


@final
class PlainHeadMixing(nn.Module):
    """Scaled dot-product attention.

    Args:
        heads: How many.
        head_size: Features of one.
    """

    def __init__(self, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_size = head_size

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix the values; ``mask`` ``(n, 1, 1 or queries, keys)`` is added to the scores."""
        return _attend(queries, keys, values, mask, self.heads, self.head_size)


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, heads: int, head_size: int
) -> Tensor:
    query, key, value = (
        x.reshape(-1, x.shape[1], heads, head_size).transpose(1, 2) for x in (queries, keys, values)
    )
    mixed: Tensor = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return mixed.transpose(1, 2).reshape(-1, queries.shape[1], heads * head_size)
