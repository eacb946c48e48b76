"""A Transformer that writes a sequence for a sequence; elastic embedding, depths, heads and MLP ratios."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.token_layers import Embedding, HeadMixing, LayerNorm, Positions
from search_spaces.text_transformer import MaskedBlock
from search_spaces.transformer import EncoderBlock

_HEAD_SIZE, _RATIOS = 16, (1, 2, 3)
_IGNORED = -1e4
"""Added to the scores of what must not be seen: the softmax of it is 0, also where there is nothing else."""


class Attending(nn.Module):
    """Attention to a sequence that may be another one; normalised first and added to its input.

    Args:
        width: Features of a token.
        heads: How many.
    """

    def __init__(self, width: Size, heads: Size) -> None:
        super().__init__()
        inner = heads * _HEAD_SIZE
        self.norm = LayerNorm(width)
        self.queries = elastic.Linear(width, inner)
        self.keys = elastic.Linear(width, inner)
        self.values = elastic.Linear(width, inner)
        self.mixing = HeadMixing(heads, _HEAD_SIZE)
        self.projection = elastic.Linear(inner, width)

    def forward(self, tokens: Tensor, seen: Tensor | None, mask: Tensor) -> Tensor:
        """Tokens ``(n, length, width)`` that look at ``seen``, or at themselves; ``mask`` is added to the scores."""
        normed = self.norm(tokens)
        seen = normed if seen is None else seen
        mixed = self.mixing(self.queries(normed), self.keys(seen), self.values(seen), mask)
        output: Tensor = tokens + self.projection(mixed)
        return output


class DecoderBlock(nn.Module):
    """Attention to the answer so far, attention to the source, two dense layers (Vaswani 2017, section 3.1).

    Args:
        name: Prefix of this block's choices.
        width: Features of a token.
        heads: Options for the number of heads, of both attentions alike.
    """

    def __init__(self, name: str, width: Size, heads: tuple[int, ...]) -> None:
        super().__init__()
        num_heads = choice(f"{name}.heads", *heads)
        hidden = choice(f"{name}.mlp_ratio", *_RATIOS) * width
        self.to_answer = Attending(width, num_heads)
        self.to_source = Attending(width, num_heads)
        self.norm = LayerNorm(width)
        self.dense = nn.Sequential(elastic.Linear(width, hidden), nn.GELU(), elastic.Linear(hidden, width))

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer ``(n, length, width)``, source ``(n, source_length, width)`` and their masks, to the same."""
        answer, source, causal, padding = inputs
        answer = self.to_answer(answer, None, causal)
        answer = self.to_source(answer, source, padding)
        return answer + self.dense(self.norm(answer)), source, causal, padding


class EncoderDecoder(nn.Module):
    """An encoder that doesn't see padding, and a decoder that doesn't see later tokens of the answer.

    Args:
        num_tokens: Ids are smaller than this; 0 is padding.
        source_length: Length of every source, with padding.
        length: Length of every answer, with padding.
        scale: Multiplies the width and the number of heads.
    """

    def __init__(self, num_tokens: int, source_length: int, length: int, scale: float) -> None:
        super().__init__()
        widths = sorted({max(16, round(base * scale / 16) * 16) for base in (32, 48, 64)})
        heads = tuple(sorted({max(1, round(base * scale)) for base in (1, 2, 4)}))
        width = choice("width", *widths)

        def encode(position: int) -> MaskedBlock:
            block = EncoderBlock(
                f"encoder{position}", width, heads=heads, head_size=_HEAD_SIZE, ratios=_RATIOS
            )
            return MaskedBlock(block)

        def decode(position: int) -> DecoderBlock:
            return DecoderBlock(f"decoder{position}", width, heads)

        self.source_embedding = Embedding(num_tokens, width)
        self.source_positions = Positions(source_length, width)
        self.encoder = elastic.Repeat(encode, times=choice("encoder.depth", 1, 2, 3))
        self.source_norm = LayerNorm(width)
        self.answer_embedding = Embedding(num_tokens, width)
        self.answer_positions = Positions(length, width)
        self.decoder = elastic.Repeat(decode, times=choice("decoder.depth", 1, 2))
        self.norm = LayerNorm(width)
        self.head = elastic.Linear(width, num_tokens)

    def forward(self, source: Tensor, answer: Tensor) -> Tensor:
        """``(n, source_length)`` and ``(n, length)`` int64 to ``(n, num_tokens, length)``."""
        tokens = self.source_positions(self.source_embedding(source))
        padding = _IGNORED * (source == 0).to(tokens.dtype)[:, None, None, :]
        tokens, _ = self.encoder((tokens, padding))
        length = answer.shape[1]
        causal = torch.full((length, length), _IGNORED, dtype=tokens.dtype, device=tokens.device).triu(1)
        written = self.answer_positions(self.answer_embedding(answer))
        written, _, _, _ = self.decoder((written, self.source_norm(tokens), causal, padding))
        logits: Tensor = self.head(self.norm(written))
        return logits.transpose(1, 2)


def sequence_transformer(num_tokens: int, source_length: int, length: int, scale: float = 1.0) -> nn.Module:
    """Return the network: 221,130 architectures.

    The width of a token is the same everywhere; each block has its number of heads and its MLP ratio. A head has 16
    features. It is a network for :class:`nas.tasks.SequenceToSequence`: an exported model makes one pass, with the
    answer so far as its second input.

    Args:
        num_tokens: Ids are smaller than this; 0 is padding.
        source_length: Length of every source, with padding.
        length: Length of every answer, with its end and padding.
        scale: Multiplies the width and the number of heads.

    Shape:
        ``(n, source_length)`` and ``(n, length)`` int64 to ``(n, num_tokens, length)``.
    """
    return EncoderDecoder(num_tokens, source_length, length, scale)
