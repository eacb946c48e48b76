"""Layers whose sizes may be choices. Import as ``from nas.supernet import elastic``.

Each layer owns the weights of its largest form and uses the leading slice, a view, of what is active
(Yu 2019; Cai 2020). Its size attributes hold the expressions a user wrote until the module is wrapped
in a :class:`nas.Supernet`; from then on they hold the integers of the active architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, cast, final, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Choice, Size, joint_values, largest_value
from nas.errors import SpaceError
from nas.space import Condition
from nas.supernet.circulant import expand, project, vectors_shape
from nas.supernet.circulant_layers import CirculantConv2d, CirculantLinear
from nas.training.depth import mark_row


@runtime_checkable
class ElasticLayer(Protocol):
    """A layer with weights that the active sizes cut."""

    def extract(self) -> nn.Module:
        """Return the active part as a plain torch layer with its own weights."""

    def num_active_params(self) -> int:
        """Return how many numbers the active part's parameters hold."""

    def macs_per_position(self) -> int:
        """Return the active part's multiply-accumulates per output position."""


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
        _reset(self.weight, self.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve with the active slice."""
        weight, bias = self._slices()
        weight = _nearest(weight, self.block_size)
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
            return _fill_layer(blocks, weight=project(weight.flatten(2), self.block_size), bias=bias)
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
        return _fill_layer(layer, weight=weight, bias=bias)

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        inputs = self.in_channels // self.groups
        shape = vectors_shape(self.out_channels, inputs, self.block_size)
        held = math.prod(shape) * self.kernel_size**2
        return held + (0 if self.bias is None else self.out_channels)

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per output pixel; blocks save none."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel_size**2


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
        _reset(self.weight, self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply with the active slice."""
        weight, bias = self._slices()
        return F.linear(inputs, _nearest(weight, self.block_size), bias)

    def _slices(self) -> tuple[Tensor, Tensor | None]:
        weight = self.weight[: self.out_features, : self.in_features]
        return weight, None if self.bias is None else self.bias[: self.out_features]

    def extract(self) -> nn.Module:
        """Return the active part as ``torch.nn.Linear``, or with blocks as ``CirculantLinear``."""
        weight, bias = self._slices()
        if self.block_size > 1:
            sizes = self.in_features, self.out_features, self.block_size
            blocks = CirculantLinear(*sizes, bias=bias is not None, device="meta")
            return _fill_layer(blocks, weight=project(weight, self.block_size), bias=bias)
        layer = nn.Linear(self.in_features, self.out_features, bias=bias is not None, device="meta")
        return _fill_layer(layer, weight=weight, bias=bias)

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        shape = vectors_shape(self.out_features, self.in_features, self.block_size)
        return math.prod(shape) + (0 if self.bias is None else self.out_features)

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per input vector; blocks save none."""
        return self.in_features * self.out_features


class BatchNorm(nn.Module):
    """Elastic width; otherwise torch's batch norm, of whose kinds a subclass names one.

    The running statistics are shared by all widths and fit none of them: recalibrate before a subnet
    is judged (Yu 2019).

    Args:
        num_features: Channels of the input.
        eps: As in torch.
        momentum: As in torch; None for a cumulative average.
    """

    plain: ClassVar[type[nn.BatchNorm1d | nn.BatchNorm2d]]
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: Size, *, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        largest = largest_value(num_features)
        self.num_features = cast(int, num_features)
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(largest))
        self.bias = nn.Parameter(torch.zeros(largest))
        self.register_buffer("running_mean", torch.zeros(largest))
        self.register_buffer("running_var", torch.ones(largest))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise with the batch's statistics in training, with the running ones otherwise."""
        momentum = self.momentum
        if self.training:
            self.num_batches_tracked += 1
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        count = self.num_features
        return F.batch_norm(
            inputs,
            self.running_mean[:count],
            self.running_var[:count],
            self.weight[:count],
            self.bias[:count],
            self.training,
            0.0 if momentum is None else momentum,
            self.eps,
        )

    def reset_running_stats(self) -> None:
        """Forget the running statistics, as torch's batch norm does."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def extract(self) -> nn.Module:
        """Return the active part as torch's batch norm."""
        count = self.num_features
        layer = self.plain(count, self.eps, self.momentum, device="meta")
        return _fill_layer(
            layer,
            weight=self.weight[:count],
            bias=self.bias[:count],
            running_mean=self.running_mean[:count],
            running_var=self.running_var[:count],
            num_batches_tracked=self.num_batches_tracked,
        )

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        return 2 * self.num_features

    def macs_per_position(self) -> int:
        """Return 0: torch's counter doesn't count normalisation, and ORT folds it into the convolution."""
        return 0


@final
class BatchNorm1d(BatchNorm):
    """Of ``(n, num_features)`` vectors, such as the points of all clouds of a batch."""

    plain = nn.BatchNorm1d


@final
class BatchNorm2d(BatchNorm):
    """Of ``(n, num_features, h, w)`` images."""

    plain = nn.BatchNorm2d


@final
class Repeat(nn.Module):
    """Elastic depth: the first ``times`` of a row of blocks; extracted as ``torch.nn.Sequential``.

    Args:
        block: Makes the block at a position, counted from 0. Choices that it names after the position
            matter only when that block is in use.
        times: How many blocks; 0 is allowed as an option.
    """

    def __init__(self, block: Callable[[int], nn.Module], times: int | Choice) -> None:
        super().__init__()
        counts = times.options if isinstance(times, Choice) else (times,)
        for count in counts:
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise SpaceError(f"Repeat can't run {count!r} times ({times}): use integers of 0 or more.")
        self.times = cast(int, times)
        self.blocks = nn.ModuleList(block(position) for position in range(max(map(int, counts))))

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the active blocks in a row."""
        for block in self.blocks_in_use():
            inputs = block(inputs)
        return inputs

    def blocks_in_use(self) -> list[nn.Module]:
        """Return the active blocks."""
        return [self.blocks[position] for position in range(self.times)]

    def conditional_blocks(self) -> list[tuple[str, nn.Module, tuple[Condition, ...]]]:
        """Return each block with its name and the conditions under which it is in use."""
        return [
            (f"blocks.{position}", block, at_least(self.times, position + 1))
            for position, block in enumerate(self.blocks)
        ]

    def extract_blocks(self, copied: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the active blocks as ``torch.nn.Sequential``."""
        return mark_row(nn.Sequential(*map(copied, self.blocks_in_use())))


def at_least(times: int | Choice, count: int) -> tuple[Condition, ...]:
    """Return the condition that ``times`` is ``count`` or more; none where it always is."""
    if not isinstance(times, Choice):
        return ()
    enough = tuple(option for option in times.options if isinstance(option, int) and option >= count)
    return () if len(enough) == len(times.options) else (Condition(times.name, enough),)


def _nearest(weight: Tensor, block_size: int) -> Tensor:
    """Return the nearest block-circulant weight."""
    if block_size == 1:
        return weight
    return expand(project(weight, block_size), *weight.shape[:2])


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


def _reset(weight: Tensor, bias: Tensor | None) -> None:
    """Initialise as torch's own layers do."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(weight[0].numel())
        nn.init.uniform_(bias, -bound, bound)


def _fill_layer(layer: nn.Module, **values: Tensor | None) -> nn.Module:
    """Give a layer that was made without storage its own copies of all that it holds."""
    for name, value in values.items():
        if value is not None:
            copy = value.detach().clone(memory_format=torch.contiguous_format)
            setattr(layer, name, nn.Parameter(copy) if name in layer._parameters else copy)
    return layer
