"""The block that both Transformers here are made of. No search space by itself."""

from __future__ import annotations

from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.token_layers import HeadMixing, LayerNorm


class EncoderBlock(nn.Module):
    """Self-attention, then two dense layers; each normalised first and added to its input (Xiong 2020, figure 1b).

    Args:
        name: Prefix of this block's choices.
        width: Features of a token.
        heads: Options for the number of heads.
        head_size: Features of one head.
        ratios: Options for the hidden features of the dense layers, as multiples of ``width``.
    """

    def __init__(
        self, name: str, width: Size, *, heads: tuple[int, ...], head_size: int, ratios: tuple[int, ...]
    ) -> None:
        super().__init__()
        num_heads = choice(f"{name}.heads", *heads)
        inner = num_heads * head_size
        hidden = choice(f"{name}.mlp_ratio", *ratios) * width
        self.norm1 = LayerNorm(width)
        self.queries = elastic.Linear(width, inner)
        self.keys = elastic.Linear(width, inner)
        self.values = elastic.Linear(width, inner)
        self.mixing = HeadMixing(num_heads, head_size)
        self.projection = elastic.Linear(inner, width)
        self.norm2 = LayerNorm(width)
        self.dense = nn.Sequential(elastic.Linear(width, hidden), nn.GELU(), elastic.Linear(hidden, width))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(n, length, width)``, unchanged; ``mask`` ``(n, 1, 1 or length, length)`` is added to the scores."""
        normed = self.norm1(tokens)
        mixed = self.mixing(self.queries(normed), self.keys(normed), self.values(normed), mask)
        tokens = tokens + self.projection(mixed)
        output: Tensor = tokens + self.dense(self.norm2(tokens))
        return output
