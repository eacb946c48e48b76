"""A plain convolutional network with block-circulant layers; elastic width, and size of the blocks layer by layer."""

from __future__ import annotations

from torch import nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.circulant import block_size

_SIZES = (16, 8, 4, 2, 1)
"""Sides of a block, from few weights to many; 1 is a plain layer. All widths are multiples of 16."""


class CirculantBlock(nn.Sequential):
    """A convolution of 3x3 pixels in blocks, batch norm and ReLU.

    Args:
        name: Prefix of this block's choice.
        in_width: Channels of the input.
        out_width: Channels of the output.
        stride: Stride of the convolution.
    """

    def __init__(self, name: str, in_width: Size, out_width: Size, stride: int = 1) -> None:
        size = block_size(f"{name}.block_size", *_SIZES)
        super().__init__(
            elastic.Conv2d(
                in_width, out_width, 3, stride=stride, padding="same", bias=False, block_size=size
            ),
            elastic.BatchNorm2d(out_width),
            nn.ReLU(),
        )


def circulant_cnn(classes: int, channels: int = 1) -> nn.Module:
    """Return the network: 1,000 architectures, for images of 8 to 32 pixels.

    The first layer has too few inputs for blocks and the last one too few outputs; they stay dense.

    Args:
        classes: Size of the output.
        channels: Channels of the images.

    Shape:
        ``(n, channels, h, w)`` to ``(n, classes)``.
    """
    width = choice("width", 16, 32)
    hidden = choice("hidden.width", 32, 64, 96, 128)
    return nn.Sequential(
        elastic.Conv2d(channels, width, 3, padding="same", bias=False),
        elastic.BatchNorm2d(width),
        nn.ReLU(),
        CirculantBlock("conv1", width, 2 * width, stride=2),
        CirculantBlock("conv2", 2 * width, 2 * width),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        elastic.Linear(8 * width, hidden, block_size=block_size("hidden.block_size", *_SIZES)),
        nn.ReLU(),
        elastic.Linear(hidden, classes),
    )
