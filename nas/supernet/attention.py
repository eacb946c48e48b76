"""Attention whose width isn't that of all its heads together, and what it shares with its elastic form."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import ShapeError


@final
class Attention(nn.Module):
    """Attention whose width isn't that of all its heads together, which ``torch.nn.MultiheadAttention`` can't be.

    Takes and returns what ``torch.nn.MultiheadAttention`` does. A head keeps its size.

    Args:
        widths: Widths of the queries, the keys, the values, and the output.
        num_heads: How many heads.
        head_size: Channels of one head.
        biases: Whether the projections of the input, and that of the output, add one.
        batch_first: As in torch.
        dropout: Dropout of the attention weights, in training.
    """

    # What torch's encoder layer asks of its attention; these values keep it from fusing the two.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        num_heads: int,
        head_size: int,
        *,
        biases: tuple[bool, bool] = (True, True),
        batch_first: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inner = num_heads * head_size
        self.num_heads, self.head_dim = num_heads, head_size
        self.batch_first, self.dropout = batch_first, dropout
        self.embed_dim, self.kdim, self.vdim = widths[3], widths[1], widths[2]
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=biases[0]) for width in widths[:3])
        self.out = nn.Linear(inner, widths[3], bias=biases[1])

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as ``torch.nn.MultiheadAttention`` does."""
        inputs = add_batch((query, key, value), self.batch_first)
        projected = tuple(
            layer(x) for layer, x in zip((self.query, self.key, self.value), inputs, strict=True)
        )
        mixed, weights = attend(
            projected, self.num_heads, join_masks(key_padding_mask, attn_mask, query), self, need_weights
        )
        output = drop_batch(self.out(mixed), query, self.batch_first)
        return output, average_weights(weights, query, average_attn_weights)


def add_batch(inputs: tuple[Tensor, ...], batch_first: bool) -> tuple[Tensor, ...]:
    """Return inputs as ``(n, length, width)``."""
    if inputs[0].ndim == 2:
        return tuple(x.unsqueeze(0) for x in inputs)
    return inputs if batch_first else tuple(x.transpose(0, 1) for x in inputs)


def drop_batch(output: Tensor, query: Tensor, batch_first: bool) -> Tensor:
    """Return an output of :func:`add_batch`'s form in the form that the inputs had."""
    if query.ndim == 2:
        return output.squeeze(0)
    return output if batch_first else output.transpose(0, 1)


def average_weights(weights: Tensor | None, query: Tensor, average: bool) -> Tensor | None:
    """Return ``(n, heads, queries, keys)`` weights as torch's layer does: a mean over the heads where that is asked."""
    if weights is None:
        return None
    weights = weights.mean(1) if average else weights
    return weights.squeeze(0) if query.ndim == 2 else weights


def join_masks(padding: Tensor | None, attention: Tensor | None, query: Tensor) -> Tensor | None:
    """Return one additive mask that fits ``(n, heads, queries, keys)``.

    Raises:
        ShapeError: a mask of its own for every head, which fits one number of heads only.
    """
    total: Tensor | None = None
    if attention is not None:
        if attention.ndim == 3:
            raise ShapeError(
                "the attention mask has three axes, so it is made for one number of heads, and heads are elastic: "
                "use a mask of two axes, or keep this attention fixed."
            )
        total = _additive(attention, query)
    if padding is not None:
        ignored = _additive(padding if padding.ndim == 2 else padding[None], query)[:, None, None, :]
        total = ignored if total is None else total + ignored
    return total


def _additive(mask: Tensor, query: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill_(mask, float("-inf"))


def attend(
    projected: tuple[Tensor, ...], num_heads: int, mask: Tensor | None, layer: Any, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Mix the values of every head; ``(n, length, heads * head_size)`` each."""
    query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in projected)
    dropout = layer.dropout if layer.training else 0.0
    if not need_weights:
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        return mixed.transpose(1, 2).flatten(2), None
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = (scores if mask is None else scores + mask).softmax(-1)
    if dropout:
        weights = F.dropout(weights, dropout)
    return (weights @ value).transpose(1, 2).flatten(2), weights
