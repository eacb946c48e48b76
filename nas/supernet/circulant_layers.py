"""Plain layers with block-circulant weights: what elastic ones become, and dense ones in compression."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.supernet.circulant import expand, multiply_spectra, vectors_shape


@final
class CirculantLinear(nn.Module):
    """``torch.nn.Linear`` with a block-circulant weight.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        block_size: Size of the blocks.
        bias: Whether to add a learned bias.
        fourier: Whether to multiply in the frequency domain, instead of making the whole matrix first.
        device: Device of the parameters.

    Shape:
        ``(..., in_features)`` to ``(..., out_features)``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        block_size: int,
        bias: bool = True,
        *,
        fourier: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.block_size = in_features, out_features, block_size
        self.fourier = fourier
        shape = vectors_shape(out_features, in_features, block_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device))
        self.bias = nn.Parameter(torch.empty(out_features, device=device)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial weights, of the spread that torch's layer has."""
        _reset(self.weight, self.bias, self.in_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply."""
        if not self.fourier:
            return F.linear(inputs, expand(self.weight, self.out_features, self.in_features), self.bias)
        made = multiply_spectra(self.weight, inputs)
        made = made if made.shape[-1] == self.out_features else made[..., : self.out_features]
        return made if self.bias is None else made + self.bias

    def extra_repr(self) -> str:
        """Say the sizes."""
        return (
            f"{self.in_features}, {self.out_features}, block_size={self.block_size}, fourier={self.fourier}"
        )


@final
class CirculantConv2d(nn.Module):
    """``torch.nn.Conv2d`` whose weight is block-circulant over the channels, at each place of the kernel.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel.
        block_size: Size of the blocks.
        stride: As in torch.
        padding: As in torch, with zeros.
        dilation: As in torch.
        bias: Whether to add a learned bias.
        device: Device of the parameters.

    Shape:
        ``(n, in_channels, h, w)`` to ``(n, out_channels, h', w')``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        block_size: int,
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] | str = (0, 0),
        dilation: tuple[int, ...] = (1, 1),
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.block_size = in_channels, out_channels, block_size
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        shape = vectors_shape(out_channels, in_channels, block_size)
        # With the kernel flat: torch takes tensors of five dimensions for weights of 3-D convolutions.
        self.weight = nn.Parameter(torch.empty(*shape, math.prod(kernel_size), device=device))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial weights, of the spread that torch's layer has."""
        _reset(self.weight, self.bias, self.in_channels * math.prod(self.kernel_size))

    def forward(self, images: Tensor) -> Tensor:
        """Convolve."""
        weight = expand(self.weight, self.out_channels, self.in_channels).unflatten(2, self.kernel_size)
        return F.conv2d(images, weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """Say the sizes."""
        return f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, block_size={self.block_size}"


def _reset(weight: Tensor, bias: Tensor | None, fan_in: int) -> None:
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(weight, -bound, bound)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound)
