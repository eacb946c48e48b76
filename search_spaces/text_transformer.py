"""A Transformer encoder that classifies sentences; elastic embedding, depth, heads and MLP ratio."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from nas import choice
from nas.choices import Choice, Size
from nas.supernet import elastic
from nas.supernet.attention_mask import DIRECTIONS, HIDDEN, AttentionMask
from nas.supernet.token_layers import Embedding, LayerNorm, Positions
from search_spaces.transformer import EncoderBlock


class MaskedBlock(nn.Module):
    """An encoder block with an attention mask of its own, which hands the mask of padding on to the next one.

    Args:
        block: What it wraps.
        mask: What else than padding its tokens don't see; None for nothing else.
    """

    def __init__(self, block: EncoderBlock, mask: AttentionMask | None = None) -> None:
        super().__init__()
        self.block = block
        self.mask = mask

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Tokens ``(n, length, width)`` and mask of padding ``(n, 1, 1, length)``, to the same."""
        tokens, padding = inputs
        return self.block(tokens, padding if self.mask is None else self.mask(padding)), padding


class SentenceEncoder(nn.Module):
    """Blocks that don't see padding, and the mean of what they make of the other tokens.

    Args:
        num_tokens: Ids are smaller than this; 0 is padding.
        length: Length of every sentence, with padding.
        classes: Size of the output.
        width: Features of a token.
        block: Makes the block at a position; it takes and returns tokens and the mask of padding, as
            :class:`MaskedBlock` does.
        times: How many blocks.
    """

    def __init__(
        self,
        num_tokens: int,
        length: int,
        classes: int,
        *,
        width: Size,
        block: Callable[[int], nn.Module],
        times: int | Choice,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(num_tokens, width)
        self.positions = Positions(length, width)
        self.blocks = elastic.Repeat(block, times=times)
        self.norm = LayerNorm(width)
        self.head = elastic.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """``(n, length)`` int64 to ``(n, classes)``."""
        tokens = self.positions(self.embedding(ids))
        padding = (ids == 0).to(tokens.dtype)
        tokens, _ = self.blocks((tokens, HIDDEN * padding[:, None, None, :]))
        weights = (1 - padding).unsqueeze(-1)
        # A sentence of padding alone has a divisor, too.
        average = (self.norm(tokens) * weights).sum(1) / weights.sum(1).clamp_min(1)
        logits: Tensor = self.head(average)
        return logits


def _mask(block: str, chosen: bool) -> AttentionMask:
    """Return the mask of a block, whose options are choices or those of plain attention."""
    if not chosen:
        return AttentionMask()
    # From one that takes little off in a short sentence to one that leaves 1 % of the weight three tokens away.
    distance = choice(f"{block}.distance", 0.0, 0.1, 0.5, 1.5)
    return AttentionMask(distance, choice(f"{block}.direction", *DIRECTIONS))


def text_transformer(
    classes: int,
    num_tokens: int = 10_000,
    length: int = 48,
    scale: float = 1.0,
    masks: bool = False,
) -> nn.Module:
    """Return the network: 71,582,784 architectures, 2.0e14 with masks.

    The width of a token is the same in every block; each block has its number of heads and its MLP ratio. A
    head has 16 features. Trained from scratch, on the vocabulary of :class:`nas.data.TextTable`.

    Args:
        classes: Size of the output.
        num_tokens: Ids are smaller than this; 0 is padding.
        length: Length of every sentence, with padding.
        scale: Multiplies the width and the number of heads.
        masks: Whether each block chooses what it takes off the scores of attention for each token of distance
            (Im 2017), and whether its tokens see those before them, those after them, or both (Shen 2018).

    Shape:
        ``(n, length)`` int64 to ``(n, classes)``.
    """
    widths = sorted({max(16, round(base * scale / 16) * 16) for base in (32, 64, 96, 128)})
    heads = tuple(sorted({max(1, round(base * scale)) for base in (1, 2, 4, 6)}))
    width = choice("width", *widths)

    def block(position: int) -> MaskedBlock:
        name = f"block{position}"
        inner = EncoderBlock(name, width, heads=heads, head_size=16, ratios=(1, 2, 3, 4))
        return MaskedBlock(inner, _mask(name, masks))

    depth = choice("depth", 1, 2, 3, 4, 5, 6)
    return SentenceEncoder(num_tokens, length, classes, width=width, block=block, times=depth)
