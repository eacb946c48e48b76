"""Which convolutions can use the centre of their kernel alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas.supernet.cut.kernels import has_room, kernel_axes, kernel_sides, why_uncropped


class OwnForward(nn.Conv2d):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(inputs, (1, 1, 1, 1)))


class OwnPadding(nn.Conv2d):
    def _conv_forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(nn.functional.pad(inputs, (1, 1, 1, 1)), weight, bias)


class Renamed(nn.Conv2d):
    """Computes nothing in another way."""


@pytest.mark.parametrize(
    ("layer", "side", "room"),
    [
        (nn.Conv2d(1, 1, 5, padding=2), 3, True),
        (nn.Conv2d(1, 1, 5, padding=2), 1, True),
        (nn.Conv2d(1, 1, 5, padding=2), 2, False),  # it has no centre
        (nn.Conv2d(1, 1, 5, padding=1), 3, True),
        (nn.Conv2d(1, 1, 5, padding=1), 1, False),
        (nn.Conv2d(1, 1, 5), 3, False),
        (nn.Conv2d(1, 1, 5, padding="same"), 3, True),
        (nn.Conv2d(1, 1, 5, padding="valid"), 3, False),
        (nn.Conv1d(1, 1, 3, padding=2, dilation=2), 1, True),
        (nn.Conv1d(1, 1, 3, padding=1, dilation=2), 1, False),
        (nn.Conv2d(1, 1, (1, 5), padding=(0, 2)), 3, True),  # the short side stays
        (nn.Conv2d(1, 1, (5, 1), padding=(0, 2)), 3, False),
    ],
)
def test_there_is_room_where_the_output_keeps_its_size_and_its_places(
    layer: Any, side: int, room: bool
) -> None:
    assert has_room(layer, side) == room
    if room:
        assert output_of_the_centre(layer, side).shape[2:] == layer(images_for(layer)).shape[2:]


def images_for(layer: nn.modules.conv._ConvNd) -> Tensor:
    return torch.randn(1, 1, *[9] * len(layer.kernel_size))


def output_of_the_centre(layer: Any, side: int) -> Tensor:
    """Return what a convolution with the centre of a kernel makes with as much less padding."""
    longest = max(layer.kernel_size)
    sides = [side if length == longest else length for length in layer.kernel_size]
    pads = layer._reversed_padding_repeated_twice[::2][::-1]
    less = [
        pad - dilation * (whole - now) // 2
        for pad, dilation, whole, now in zip(pads, layer.dilation, layer.kernel_size, sides, strict=True)
    ]
    smaller = type(layer)(1, 1, tuple(sides), padding=tuple(less), dilation=layer.dilation)
    output: Tensor = smaller(images_for(layer))
    return output


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Conv2d(1, 1, 3), None),
        (Renamed(1, 1, 3), None),
        (OwnForward(1, 1, 3), "a OwnForward has a forward of its own"),
        (OwnPadding(1, 1, 3), "a OwnPadding has a forward of its own"),
        (nn.ConvTranspose2d(1, 1, 3), "a ConvTranspose2d has a forward of its own"),
    ],
)
def test_a_convolution_that_pads_in_its_own_way_is_left_whole(layer: Any, said: str | None) -> None:
    found = why_uncropped(layer)
    assert found is None if said is None else found is not None and said in found


def test_a_weight_that_is_computed_is_left_whole() -> None:
    layer = nn.Conv2d(1, 1, 3)
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    assert why_uncropped(layer) is not None


def test_the_longest_sides_alone_follow() -> None:
    assert {key for key, _ in kernel_axes(nn.Conv2d(1, 1, (1, 5)), 3).items()} == {("weight", 3)}
    assert kernel_axes(nn.Conv2d(1, 1, 5), 3).keys() == {("weight", 2), ("weight", 3)}
    assert all(axis[0].centred for axis in kernel_axes(nn.Conv2d(1, 1, 5), 3).values())
    assert kernel_sides(nn.Conv2d(1, 1, (1, 5))) == (1, 5)
    assert kernel_sides(nn.Linear(2, 2)) == ()
