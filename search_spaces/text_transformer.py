"""A Transformer encoder that classifies sentences; elastic embedding, depth, heads and MLP ratio."""

from __future__ import annotations

from torch import Tensor, nn

from nas import choice
from nas.supernet import elastic
from nas.supernet.tokens import Embedding, LayerNorm, Positions
from search_spaces.transformer import EncoderBlock

_IGNORED = -1e4
"""Added to the scores of padding: the softmax of it is 0, also where nothing else is there to look at."""


class MaskedBlock(nn.Module):
    """An encoder block that hands the mask on to the next one.

    Args:
        block: What it wraps.
    """

    def __init__(self, block: EncoderBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Tokens ``(n, length, width)`` and mask ``(n, 1, 1, length)``, to the same."""
        tokens, mask = inputs
        return self.block(tokens, mask), mask


class SentenceEncoder(nn.Module):
    """Blocks that don't see padding, and the mean of what they make of the other tokens.

    Args:
        num_tokens: Ids are smaller than this; 0 is padding.
        length: Length of every sentence, with padding.
        classes: Size of the output.
        scale: Multiplies the width and the number of heads.
    """

    def __init__(self, num_tokens: int, length: int, classes: int, scale: float) -> None:
        super().__init__()
        widths = sorted({max(16, round(base * scale / 16) * 16) for base in (32, 64, 96, 128)})
        heads = tuple(sorted({max(1, round(base * scale)) for base in (1, 2, 4, 6)}))
        width = choice("width", *widths)

        def block(position: int) -> MaskedBlock:
            return MaskedBlock(
                EncoderBlock(f"block{position}", width, heads=heads, head_size=16, ratios=(1, 2, 3, 4))
            )

        self.embedding = Embedding(num_tokens, width)
        self.positions = Positions(length, width)
        self.blocks = elastic.Repeat(block, times=choice("depth", 1, 2, 3, 4, 5, 6))
        self.norm = LayerNorm(width)
        self.head = elastic.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """``(n, length)`` int64 to ``(n, classes)``."""
        tokens = self.positions(self.embedding(ids))
        padding = (ids == 0).to(tokens.dtype)
        tokens, _ = self.blocks((tokens, _IGNORED * padding[:, None, None, :]))
        weights = (1 - padding).unsqueeze(-1)
        average = (self.norm(tokens) * weights).sum(1) / weights.sum(1).clamp_min(1)
        logits: Tensor = self.head(average)
        return logits


def text_transformer(
    classes: int, num_tokens: int = 10_000, length: int = 48, scale: float = 1.0
) -> nn.Module:
    """Return the network: 71,582,784 architectures.

    The width of a token is the same in every block; each block has its number of heads and its MLP ratio. A
    head has 16 features. Trained from scratch, on the vocabulary of :class:`nas.data.TextTable`.

    Args:
        classes: Size of the output.
        num_tokens: Ids are smaller than this; 0 is padding.
        length: Length of every sentence, with padding.
        scale: Multiplies the width and the number of heads.

    Shape:
        ``(n, length)`` int64 to ``(n, classes)``.
    """
    return SentenceEncoder(num_tokens, length, classes, scale)
