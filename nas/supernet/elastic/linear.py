"""The elastic linear layer."""

from __future__ import annotations

import math
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size, largest_value
from nas.supernet.circulant import project, vectors_shape
from nas.supernet.circulant_layers import CirculantLinear
from nas.supernet.elastic.layer import fill_layer, nearest_circulant, reset_weights


@final
class Linear(nn.Module):
    """Elastic width; otherwise ``torch.nn.Linear``.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        bias: Whether to add a learned bias.
        positions: How many vectors one input of the network gives this layer, where choices decide that, such as how
            many points are left of a cloud. Only counting reads it. None where all architectures give as many.
        block_size: The weight is block-circulant, in blocks of that size, see :mod:`nas.supernet.circulant`; 1 for any
            weight. All sizes share one weight, of which each uses the nearest.

    Shape:
        ``(..., in_features)`` to ``(..., out_features)``.
    """

    def __init__(
        self,
        in_features: Size,
        out_features: Size,
        *,
        bias: bool = True,
        positions: Size | None = None,
        block_size: Size = 1,
    ) -> None:
        super().__init__()
        largest_in, largest_out = largest_value(in_features), largest_value(out_features)
        largest_value(block_size)
        self.block_size = cast(int, block_size)
        self.positions = cast(int | None, positions)
        self.in_features = cast(int, in_features)
        self.out_features = cast(int, out_features)
        self.weight = nn.Parameter(torch.empty(largest_out, largest_in))
        self.bias = nn.Parameter(torch.empty(largest_out)) if bias else None
        reset_weights(self.weight, self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply with the active slice."""
        weight, bias = self._slices()
        return F.linear(inputs, nearest_circulant(weight, self.block_size), bias)

    def _slices(self) -> tuple[Tensor, Tensor | None]:
        weight = self.weight[: self.out_features, : self.in_features]
        return weight, None if self.bias is None else self.bias[: self.out_features]

    def extract(self) -> nn.Module:
        """Return the active part as ``torch.nn.Linear``, or with blocks as ``CirculantLinear``."""
        weight, bias = self._slices()
        if self.block_size > 1:
            sizes = self.in_features, self.out_features, self.block_size
            blocks = CirculantLinear(*sizes, bias=bias is not None, device="meta")
            return fill_layer(blocks, weight=project(weight, self.block_size), bias=bias)
        layer = nn.Linear(self.in_features, self.out_features, bias=bias is not None, device="meta")
        return fill_layer(layer, weight=weight, bias=bias)

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        shape = vectors_shape(self.out_features, self.in_features, self.block_size)
        return math.prod(shape) + (0 if self.bias is None else self.out_features)

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per input vector; blocks save none."""
        return self.in_features * self.out_features
