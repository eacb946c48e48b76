"""The elastic convolution."""

from __future__ import annotations

import math
from typing import Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size, joint_values, largest_value
from nas.errors import SpaceError
from nas.supernet.circulant import project, vectors_shape
from nas.supernet.circulant_layers import CirculantConv2d
from nas.supernet.elastic.layer import fill_layer, nearest_circulant, reset_weights


@final
class Conv2d(nn.Module):
    """Elastic width, kernel, dilation and groups; otherwise ``torch.nn.Conv2d``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the square kernel; a smaller one is the centre of the largest.
        stride: As in torch.
        padding: Pixels on each side, or "same": half of what the active kernel spans, also with a stride.
        dilation: Distance between the pixels that the kernel sees.
        groups: As in torch; equal to ``in_channels`` for a depthwise convolution.
        bias: Whether to add a learned bias.
        block_size: The weight is block-circulant over the channels, in blocks of that size, see
            :mod:`nas.supernet.circulant`; 1 for any weight. All sizes share one weight, of which each uses the nearest.

    Shape:
        ``(n, in_channels, h, w)`` to ``(n, out_channels, h', w')``.

    Raises:
        SpaceError: for some combination of options a size is not positive, or the channels are not
            a multiple of the groups, or there are both blocks and groups.
    """

    def __init__(
        self,
        in_channels: Size,
        out_channels: Size,
        kernel_size: Size,
        *,
        stride: int = 1,
        padding: int | Literal["same"] = 0,
        dilation: Size = 1,
        groups: Size = 1,
        bias: bool = True,
        block_size: Size = 1,
    ) -> None:
        super().__init__()
        _check_groups(in_channels, out_channels, groups)
        if largest_value(block_size) > 1 and largest_value(groups) > 1:
            raise SpaceError(
                f"a convolution has groups ({groups}) and blocks ({block_size}): a block-circulant one has no groups."
            )
        largest_out, largest_kernel = largest_value(out_channels), largest_value(kernel_size)
        largest_in = max(int(inputs) // int(count) for inputs, count in joint_values(in_channels, groups))
        self.in_channels = cast(int, in_channels)
        self.out_channels = cast(int, out_channels)
        self.kernel_size = cast(int, kernel_size)
        self.groups = cast(int, groups)
        self.block_size = cast(int, block_size)
        self.stride = stride
        self.padding = padding
        largest_value(dilation)
        self.dilation = cast(int, dilation)
        self.weight = nn.Parameter(torch.empty(largest_out, largest_in, largest_kernel, largest_kernel))
        self.bias = nn.Parameter(torch.empty(largest_out)) if bias else None
        reset_weights(self.weight, self.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve with the active slice."""
        weight, bias = self._slices()
        weight = nearest_circulant(weight, self.block_size)
        return F.conv2d(images, weight, bias, self.stride, self._pixels(), self.dilation, self.groups)

    def _slices(self) -> tuple[Tensor, Tensor | None]:
        start = (self.weight.shape[-1] - self.kernel_size) // 2
        crop = slice(start, start + self.kernel_size)
        weight = self.weight[: self.out_channels, : self.in_channels // self.groups, crop, crop]
        return weight, None if self.bias is None else self.bias[: self.out_channels]

    def _pixels(self) -> int:
        return self.dilation * (self.kernel_size // 2) if self.padding == "same" else self.padding

    def extract(self) -> nn.Module:
        """Return the active part as ``torch.nn.Conv2d``, or with blocks as ``CirculantConv2d``."""
        weight, bias = self._slices()
        if self.block_size > 1:
            side, padding = (self.kernel_size,) * 2, (self._pixels(),) * 2
            blocks = CirculantConv2d(
                self.in_channels,
                self.out_channels,
                side,
                self.block_size,
                stride=(self.stride,) * 2,
                padding=padding,
                dilation=(self.dilation,) * 2,
                bias=bias is not None,
                device="meta",
            )
            return fill_layer(blocks, weight=project(weight.flatten(2), self.block_size), bias=bias)
        layer = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self._pixels(),
            dilation=self.dilation,
            groups=self.groups,
            bias=bias is not None,
            device="meta",
        )
        return fill_layer(layer, weight=weight, bias=bias)

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        inputs = self.in_channels // self.groups
        shape = vectors_shape(self.out_channels, inputs, self.block_size)
        held = math.prod(shape) * self.kernel_size**2
        return held + (0 if self.bias is None else self.out_channels)

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per output pixel; blocks save none."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel_size**2


def _check_groups(in_channels: Size, out_channels: Size, groups: Size) -> None:
    for size in (in_channels, out_channels, groups):
        largest_value(size)
    for channels in (in_channels, out_channels):
        for width, count in joint_values(channels, groups):
            if int(width) % int(count):
                raise SpaceError(
                    f"a convolution can have {width} channels ({channels}) and {count} groups ({groups}): channels "
                    "must be multiples of the groups for every option."
                )
