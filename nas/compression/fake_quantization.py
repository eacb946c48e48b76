"""Quantization that is simulated in float: what int8 will make of a network, differentiable (Jacob 2018).

Gradients go straight through the rounding (Bengio 2013).
"""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

_RANGE = "input_range"
_LARGEST = 255  # of uint8, which activations become
_FORGETTING = 0.01
"""Share of a range that each batch replaces: about the last hundred batches count, because weights move on."""


@final
class _RoundedWeights(nn.Module):
    """Weights as int8 has them: symmetric, each output channel with a scale of its own."""

    def __init__(self, axis: int, largest: int) -> None:
        super().__init__()
        self._axis, self._largest = axis, largest

    def forward(self, weights: Tensor) -> Tensor:
        """Round."""
        others = [dim for dim in range(weights.ndim) if dim != self._axis]
        scale = (weights.detach().abs().amax(others) / self._largest).clamp_min(
            torch.finfo(torch.float32).tiny
        )
        zero = torch.zeros(len(scale), dtype=torch.int32, device=weights.device)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weights, scale, zero, self._axis, -self._largest, self._largest
        )
        return rounded


@final
class _Range(nn.Module):
    """Activations as uint8 has them, in the range of what came by in training.

    The range grows at once and shrinks slowly, so that nothing is cut off, as with the extremes of calibration.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """Round."""
        if self.training:
            low, high = (extreme.float() for extreme in values.detach().aminmax())
            self.low.lerp_(low, _FORGETTING).clamp_(max=0).copy_(torch.minimum(self.low, low))
            self.high.lerp_(high, _FORGETTING).clamp_(min=0).copy_(torch.maximum(self.high, high))
        scale = ((self.high - self.low) / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
        zero = (-self.low / scale).round().clamp(0, _LARGEST).to(torch.int32)
        rounded = torch.fake_quantize_per_tensor_affine(values.float(), scale, zero, 0, _LARGEST)
        return rounded.to(values.dtype)


def simulate_int8(module: nn.Module, *, largest: int) -> int:
    """Let layers round their weights and inputs, in place; return how many layers do.

    Batch norm stays as it is: folded into a convolution it changes the scales of channels, each of which has its own.

    Args:
        module: Its convolutions, linear layers and attention are changed.
        largest: Largest of the integers that weights become; the smallest is its negative.
    """
    layers = [layer for layer in module.modules() if _weights_of(layer)]
    for layer in layers:
        for name in _weights_of(layer):
            axis = 1 if isinstance(layer, _ConvTransposeNd) else 0
            parametrize.register_parametrization(layer, name, _RoundedWeights(axis, largest))
        if isinstance(layer, _ConvNd | nn.Linear):
            layer.add_module(_RANGE, _Range().to(next(layer.parameters()).device))
            layer.register_forward_pre_hook(_round_input)
    return len(layers)


def stop_simulation(module: nn.Module) -> None:
    """Undo :func:`simulate_int8`, in place, and leave the rounded weights: int8 makes the same integers of them."""
    for layer in list(module.modules()):
        for name in _weights_of(layer) if parametrize.is_parametrized(layer) else ():
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
        if isinstance(layer, _ConvNd | nn.Linear):
            layer._modules.pop(_RANGE, None)
            for key in [key for key, hook in layer._forward_pre_hooks.items() if hook is _round_input]:
                del layer._forward_pre_hooks[key]


def _weights_of(layer: nn.Module) -> tuple[str, ...]:
    """Return the names of a layer's parameters that int8 rounds."""
    if isinstance(layer, _ConvNd | nn.Linear):
        return ("weight",)
    if isinstance(layer, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return tuple(name for name in names if getattr(layer, name) is not None)
    return ()


def _round_input(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    made = cast(_Range, layer.get_submodule(_RANGE))
    return (made(given[0]), *given[1:])
