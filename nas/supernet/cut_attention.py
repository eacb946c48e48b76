"""Torch's multi-head attention of which whole heads, and channels of the embedding, can be left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size
from nas.supernet.attention import (
    Attention,
    add_batch,
    attend,
    average_weights,
    drop_batch,
    join_masks,
)
from nas.supernet.cut import Axis, Span, copy_containers, total

_INPUTS = ("query", "key", "value")
_OUT = "out"


@final
class CutAttention(nn.MultiheadAttention):
    """``torch.nn.MultiheadAttention`` of which the first heads, and some channels of its width, are active."""

    @classmethod
    def of(
        cls, layer: nn.MultiheadAttention, num_heads: Size, axes: Mapping[tuple[str, int], Axis] | None = None
    ) -> Self:
        """Return an elastic form of ``layer`` that shares its parameters.

        Args:
            layer: Must pass :func:`why_whole_attention`.
            num_heads: How many heads are active.
            axes: Its elastic widths, by tensor (``out_proj.weight`` is one) and dimension; the others stay whole.
        """
        made = cls.__new__(cls)
        made.__dict__.update(copy_containers(layer.__dict__))
        output = made._modules.pop("out_proj")  # a plain layer would count as one that is never cut
        made.register_parameter("out_weight", cast(nn.Parameter, cast(nn.Linear, output).weight))
        made.register_parameter("out_bias", cast(nn.Parameter | None, cast(nn.Linear, output).bias))
        made._num_keys, made._all_inner = 0, layer.num_heads * layer.head_dim
        made.num_heads = cast(int, num_heads)
        made._follow(layer, axes or {})
        return made

    def _follow(self, layer: nn.MultiheadAttention, axes: Mapping[tuple[str, int], Axis]) -> None:
        """Keep the active sizes of every span of the widths as attributes."""
        packed = layer._qkv_same_embed_dim
        places = [("in_proj_weight" if packed else f"{name[0]}_proj_weight", 1) for name in _INPUTS]
        sizes = (layer.embed_dim, layer.kdim, layer.vdim, layer.embed_dim)
        self._spans = {}
        totals = []
        for name, place, size in zip((*_INPUTS, _OUT), (*places, ("out_proj.weight", 0)), sizes, strict=True):
            axis = axes.get(place, (Span(0, size),))
            self._spans[name] = tuple((span.start, f"{name}_width_{n}") for n, span in enumerate(axis))
            self.__dict__.update({f"{name}_width_{n}": span.size for n, span in enumerate(axis)})
            totals.append(cast(int, total(axis)))
        _, self.kdim, self.vdim, self.embed_dim = totals

    out_weight: Tensor
    out_bias: Tensor | None
    _num_keys: int
    _all_inner: int
    _spans: dict[str, tuple[tuple[int, str], ...]]
    """Where each span of a width starts, and the attribute that holds its active size."""

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
        """Attend as ``torch.nn.MultiheadAttention`` does, with the active heads and widths."""
        inputs = add_batch((query, key, value), self.batch_first)
        self._num_keys = inputs[1].shape[1]
        projected = tuple(F.linear(x, *ws) for x, ws in zip(inputs, self._projections(), strict=True))
        mixed, weights = attend(
            projected, self.num_heads, join_masks(key_padding_mask, attn_mask, query), self, need_weights
        )
        output = F.linear(mixed, *self._output())
        return drop_batch(output, query, self.batch_first), average_weights(
            weights, query, average_attn_weights
        )

    @property
    def _inner(self) -> int:
        return int(self.num_heads * self.head_dim)

    def _width(self, name: str) -> int:
        return sum(self.__dict__[size] for _, size in self._spans[name])

    def _active(self, tensor: Tensor, dim: int, name: str) -> Tensor:
        pieces = [tensor.narrow(dim, start, self.__dict__[size]) for start, size in self._spans[name]]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)

    def _projections(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the active weight and bias of queries, keys and values."""
        weights, biases = _projections_of(self, self._all_inner), self.in_proj_bias
        for third, (name, weight) in enumerate(zip(_INPUTS, weights, strict=True)):
            start = third * self._all_inner
            bias = None if biases is None else biases[start : start + self._inner]
            yield self._active(weight[: self._inner], 1, name), bias

    def _output(self) -> tuple[Tensor, Tensor | None]:
        """Return the active weight and bias of the output."""
        weight = self._active(self.out_weight[:, : self._inner], 0, _OUT)
        return weight, None if self.out_bias is None else self._active(self.out_bias, 0, _OUT)

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return the active heads and widths as :class:`Attention`."""
        query, key, value, out = map(self._width, (*_INPUTS, _OUT))
        with torch.device("meta"):  # no time is lost on initial weights
            plain = Attention(
                (query, key, value, out),
                self.num_heads,
                self.head_dim,
                biases=(self.in_proj_bias is not None, self.out_bias is not None),
                batch_first=self.batch_first,
                dropout=self.dropout,
            )
        plain = plain.to(self.out_weight.dtype).to_empty(device=self.out_weight.device)
        layers = (plain.query, plain.key, plain.value, plain.out)
        for layer, (weight, bias) in zip(layers, [*self._projections(), self._output()], strict=True):
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        return plain.train(self.training)

    def num_active_params(self) -> int:
        """Return how many numbers the active weights and biases hold."""
        biases = (0 if self.in_proj_bias is None else 3 * self._inner) + (
            0 if self.out_bias is None else self._width(_OUT)
        )
        return int(self._inner * sum(map(self._width, self._spans)) + biases)

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per query, for as many keys as the last forward pass had."""
        return int(self._inner * (sum(map(self._width, self._spans)) + 2 * self._num_keys))


def projections(layer: nn.MultiheadAttention) -> tuple[Tensor, ...]:
    """Return the weights of queries, keys and values, which may be views of one."""
    return _projections_of(layer, layer.num_heads * layer.head_dim)


def _projections_of(layer: nn.MultiheadAttention, inner: int) -> tuple[Tensor, ...]:
    if layer._qkv_same_embed_dim:
        return tuple(cast(Tensor, layer.in_proj_weight).split(inner))
    return tuple(cast(Tensor, layer._parameters[f"{name[0]}_proj_weight"]) for name in _INPUTS)


def runs_along_heads(layer: nn.Module, outer: nn.Module, tensor: str, dim: int) -> bool:
    """Whether a tensor's dimension runs along the heads of torch's attention, which is ``layer`` or holds it."""
    if isinstance(layer, nn.MultiheadAttention):
        return dim == 0 or not tensor.endswith("_weight")  # all but the columns, which run along the width
    return isinstance(outer, nn.MultiheadAttention) and (tensor, dim) == ("weight", 1)


def why_whole_attention(layer: nn.MultiheadAttention) -> str | None:
    """Return why neither the heads nor the width of ``layer`` can be elastic, or None."""
    if type(layer) is not nn.MultiheadAttention:
        return f"a {type(layer).__name__}, which has no elastic form"
    if layer.bias_k is not None or layer.add_zero_attn:
        return "it adds keys of its own (add_bias_kv or add_zero_attn)"
    return None


def why_fixed(layer: nn.MultiheadAttention) -> str | None:
    """Return why the heads of ``layer`` can't be elastic, or None."""
    return why_whole_attention(layer) or ("it has one head" if layer.num_heads < 2 else None)
