"""What elastic layers must do, and what they share."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from nas.supernet.circulant import expand, project


@runtime_checkable
class ElasticLayer(Protocol):
    """A layer with weights that the active sizes cut."""

    def extract(self) -> nn.Module:
        """Return the active part as a plain torch layer with its own weights."""

    def num_active_params(self) -> int:
        """Return how many numbers the active part's parameters hold."""

    def macs_per_position(self) -> int:
        """Return the active part's multiply-accumulates per output position."""


def nearest_circulant(weight: Tensor, block_size: int) -> Tensor:
    """Return the nearest block-circulant weight."""
    if block_size == 1:
        return weight
    return expand(project(weight, block_size), *weight.shape[:2])


def reset_weights(weight: Tensor, bias: Tensor | None) -> None:
    """Initialise as torch's own layers do."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(weight[0].numel())
        nn.init.uniform_(bias, -bound, bound)


def fill_layer(layer: nn.Module, **values: Tensor | None) -> nn.Module:
    """Give a layer that was made without storage its own copies of all that it holds."""
    for name, value in values.items():
        if value is not None:
            copy = value.detach().clone(memory_format=torch.contiguous_format)
            setattr(layer, name, nn.Parameter(copy) if name in layer._parameters else copy)
    return layer
