"""Initial weights for a network of a size of its own, in place of those that it was cut with."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class _Resettable(Protocol):
    def reset_parameters(self) -> None: ...


@torch.no_grad()
def reinitialize(module: nn.Module, seed: int) -> None:
    """Draw the weights of a plain module anew, from ``seed`` alone.

    Every layer is initialised by its ``reset_parameters``, so its spread is that of its own size, and running
    statistics are forgotten. Embeddings, and what nothing resets (a class token, say, of a module without
    ``reset_parameters``), are drawn from a normal distribution with the mean and the deviation that they have. These
    stay as they are: frozen parameters; those whose numbers are all equal, such as zeros that a block begins with;
    a single number that nothing resets; buffers other than running statistics. What is tied stays tied.
    """
    before = {name: (p, p.clone(), p._version) for name, p in module.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in reversed(list(module.modules())):  # what holds a layer may initialise it its own way
            _reset(layer)
        for name, parameter in module.named_parameters():
            original, value, version = before[name]
            if not original.requires_grad or _is_constant(value):
                parameter.copy_(value)
            elif parameter is original and parameter._version == version:
                _redraw(parameter)


def _reset(layer: nn.Module) -> None:
    own = list(layer.parameters(recurse=False))
    if own and not any(parameter.requires_grad for parameter in own):
        return
    if isinstance(
        layer, nn.Embedding | nn.EmbeddingBag
    ):  # torch's deviation of 1 is rarely what a network has
        _redraw(layer.weight)
        layer._fill_padding_idx_with_zero()
    elif isinstance(layer, nn.MultiheadAttention):
        layer._reset_parameters()
    elif isinstance(layer, _Resettable):
        layer.reset_parameters()


def _redraw(parameter: Tensor) -> None:
    mean, deviation = parameter.mean().item(), parameter.std(unbiased=False).item()
    parameter.normal_(mean, deviation)


def _is_constant(value: Tensor) -> bool:
    return value.numel() > 1 and bool((value == value.flatten()[0]).all())
