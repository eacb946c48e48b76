"""Multi-head attention of which whole heads can be left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size
from nas.errors import ShapeError
from nas.supernet.cut import unshared


@final
class Attention(nn.Module):
    """Attention with fewer heads than its width has room for, which ``torch.nn.MultiheadAttention`` can't be.

    Takes and returns what ``torch.nn.MultiheadAttention`` does. A head keeps its size.

    Args:
        width: Of the queries and of the output.
        num_heads: How many heads.
        head_size: Channels of one head.
        biases: Whether the projections of the input, and that of the output, add one.
        batch_first: As in torch.
        dropout: Of the attention weights, in training.
    """

    # What torch's encoder layer asks of its attention; these values keep it from fusing the two.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(
        self,
        width: int,
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
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=biases[0]) for _ in range(3))
        self.out = nn.Linear(inner, width, bias=biases[1])

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
        """As ``torch.nn.MultiheadAttention``."""
        inputs = _batched((query, key, value), self.batch_first)
        projected = tuple(
            layer(x) for layer, x in zip((self.query, self.key, self.value), inputs, strict=True)
        )
        mixed, weights = _attend(
            projected, self.num_heads, _mask(key_padding_mask, attn_mask, query), self, need_weights
        )
        output = _unbatched(self.out(mixed), query, self.batch_first)
        return output, _averaged(weights, query, average_attn_weights)


@final
class CutAttention(nn.MultiheadAttention):
    """``torch.nn.MultiheadAttention`` of which the first heads are active."""

    @classmethod
    def of(cls, layer: nn.MultiheadAttention, num_heads: Size) -> Self:
        """Return an elastic form of ``layer`` that shares its parameters.

        Args:
            layer: Must pass :func:`why_fixed`.
            num_heads: How many heads are active.
        """
        made = cls.__new__(cls)
        made.__dict__.update(unshared(layer.__dict__))
        output = made._modules.pop("out_proj")  # a plain layer would count as one that is never cut
        made.register_parameter("out_weight", cast(nn.Parameter, cast(nn.Linear, output).weight))
        made.register_parameter("out_bias", cast(nn.Parameter | None, cast(nn.Linear, output).bias))
        made.num_heads = cast(int, num_heads)
        made._num_keys = 0
        return made

    out_weight: Tensor
    out_bias: Tensor | None
    _num_keys: int

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
        """As ``torch.nn.MultiheadAttention``, with the active heads."""
        inputs = _batched((query, key, value), self.batch_first)
        self._num_keys = inputs[1].shape[1]
        projected = tuple(F.linear(x, *ws) for x, ws in zip(inputs, self._projections(), strict=True))
        mixed, weights = _attend(
            projected, self.num_heads, _mask(key_padding_mask, attn_mask, query), self, need_weights
        )
        output = F.linear(mixed, self.out_weight[:, : self._inner], self.out_bias)
        return _unbatched(output, query, self.batch_first), _averaged(weights, query, average_attn_weights)

    @property
    def _inner(self) -> int:
        return int(self.num_heads * self.head_dim)

    def _projections(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the active weight and bias of queries, keys and values."""
        weight, bias = cast(Tensor, self.in_proj_weight), self.in_proj_bias
        for start in (0, self.embed_dim, 2 * self.embed_dim):
            rows = slice(start, start + self._inner)
            yield weight[rows], None if bias is None else bias[rows]

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return the active heads as :class:`Attention`."""
        with torch.device("meta"):  # no time is lost on initial weights
            plain = Attention(
                self.embed_dim,
                self.num_heads,
                self.head_dim,
                biases=(self.in_proj_bias is not None, self.out_bias is not None),
                batch_first=self.batch_first,
                dropout=self.dropout,
            )
        plain = plain.to(self.out_weight.dtype).to_empty(device=self.out_weight.device)
        pairs = list(zip((plain.query, plain.key, plain.value), self._projections(), strict=True))
        pairs.append((plain.out, (self.out_weight[:, : self._inner], self.out_bias)))
        for layer, (weight, bias) in pairs:
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        return plain.train(self.training)

    def num_active_params(self) -> int:
        """Return how many numbers the active weights and biases hold."""
        biases = (0 if self.in_proj_bias is None else 3 * self._inner) + (
            0 if self.out_bias is None else self.embed_dim
        )
        return int(4 * self._inner * self.embed_dim + biases)

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per query, for as many keys as the last forward pass had."""
        return int(4 * self._inner * self.embed_dim + 2 * self._inner * self._num_keys)


def why_fixed(layer: nn.MultiheadAttention) -> str | None:
    """Return why the heads of ``layer`` can't be elastic, or None."""
    if type(layer) is not nn.MultiheadAttention:
        return f"a {type(layer).__name__}, which has no elastic form"
    if not layer._qkv_same_embed_dim:
        return "keys and values have other sizes than queries"
    if layer.bias_k is not None or layer.add_zero_attn:
        return "it adds keys of its own (add_bias_kv or add_zero_attn)"
    if layer.num_heads < 2:
        return "it has one head"
    return None


def _batched(inputs: tuple[Tensor, ...], batch_first: bool) -> tuple[Tensor, ...]:
    """Return inputs as ``(n, length, width)``."""
    if inputs[0].ndim == 2:
        return tuple(x.unsqueeze(0) for x in inputs)
    return inputs if batch_first else tuple(x.transpose(0, 1) for x in inputs)


def _unbatched(output: Tensor, query: Tensor, batch_first: bool) -> Tensor:
    if query.ndim == 2:
        return output.squeeze(0)
    return output if batch_first else output.transpose(0, 1)


def _averaged(weights: Tensor | None, query: Tensor, average: bool) -> Tensor | None:
    if weights is None:
        return None
    weights = weights.mean(1) if average else weights
    return weights.squeeze(0) if query.ndim == 2 else weights


def _mask(padding: Tensor | None, attention: Tensor | None, query: Tensor) -> Tensor | None:
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


def _attend(
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
