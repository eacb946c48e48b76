"""Convolutions that use the centre of their kernel (Cai 2020), with as much less padding: the output keeps its size."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from nas.choices import Size
from nas.supernet.cut.spans import Axis, Span

_FORWARDS = {kind.forward: kind._conv_forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d)}
"""Those that pad by the layer's attributes and read nothing but its tensors otherwise."""


def kernel_sides(layer: nn.Module) -> tuple[int, ...]:
    """Return the lengths of a convolution's kernel; empty for other modules."""
    return layer.kernel_size if isinstance(layer, nn.modules.conv._ConvNd) else ()


def why_uncropped(layer: nn.modules.conv._ConvNd) -> str | None:
    """Return why the centre of a convolution's kernel can't be used alone, or None."""
    kind: Any = type(layer)
    if kind.forward not in _FORWARDS or kind._conv_forward is not _FORWARDS[kind.forward]:
        return f"a {kind.__name__} has a forward of its own, which may pad in another way"
    if layer._parameters.get("weight") is None:
        return "its weight is computed anew each time"
    return None


def has_room(layer: nn.modules.conv._ConvNd, side: int) -> bool:
    """Whether a convolution with a smaller kernel can make an output of the same size, from the same places."""
    longest = max(layer.kernel_size)
    less = [dilation * (longest - side) // 2 for dilation in layer.dilation]
    pads = layer._reversed_padding_repeated_twice[::-1]
    followed = [dim for dim, length in enumerate(layer.kernel_size) if length == longest]
    return (longest - side) % 2 == 0 and all(
        min(pads[2 * dim : 2 * dim + 2]) >= less[dim] for dim in followed
    )


def kernel_axes(layer: nn.modules.conv._ConvNd, side: Size) -> dict[tuple[str, int], Axis]:
    """Return the axes of a convolution whose longest sides become ``side``."""
    longest = max(layer.kernel_size)
    followed = [dim for dim, length in enumerate(layer.kernel_size, 2) if length == longest]
    return {("weight", dim): (Span(0, side, centred=True),) for dim in followed}


def _kernel_size(self: Any) -> tuple[int, ...]:
    sides = list(self.__dict__["kernel_size"])
    for dim, slots in self._cuts["weight"]:
        if dim >= 2:
            sides[dim - 2] = self.__dict__[slots[0].size]
    return tuple(sides)


def _less(self: Any) -> list[int]:
    """Return by how much the padding of each side of an image is smaller than that of the whole kernel."""
    pairs = zip(self.__dict__["kernel_size"], self.kernel_size, self.dilation, strict=True)
    return [dilation * (whole - active) // 2 for whole, active, dilation in pairs]


def _padding(self: Any) -> str | tuple[int, ...]:
    given = self.__dict__["padding"]
    if isinstance(given, str):
        return given
    return tuple(pad - less for pad, less in zip(given, _less(self), strict=True))


def _pads(self: Any) -> tuple[int, ...]:
    # Torch keeps the padding of the last dimension first, and each twice: for both sides.
    less = [value for value in reversed(_less(self)) for _ in range(2)]
    given = self.__dict__["_reversed_padding_repeated_twice"]
    return cast(tuple[int, ...], type(given)(pad - value for pad, value in zip(given, less, strict=True)))


CROPPED: dict[str, object] = {
    "kernel_size": property(_kernel_size),
    "padding": property(_padding),
    "_reversed_padding_repeated_twice": property(_pads),
}
"""What the class of a convolution with an elastic kernel computes from the active one."""
