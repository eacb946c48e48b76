"""U-Net (Ronneberger 2015) with elastic levels, widths and depth."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nas import choice
from nas.choices import Choice, Size
from nas.supernet import elastic
from nas.supernet.skipping import Skippable
from search_spaces.convolutions import Activated, Residual, Term, resize_like, scale_widths

_WIDTHS = (64, 128, 256, 512, 1024)
"""Widths of the published network, level by level (figure 1)."""


class Deeper(nn.Module):
    """What a level sees at half the height and width, brought back to the whole."""

    def __init__(self, level: nn.Module) -> None:
        super().__init__()
        self.halve = nn.MaxPool2d(2)
        self.level = level

    def forward(self, features: Tensor) -> Tensor:
        """``(n, in_width, h, w)`` to ``(n, out_width, h, w)``."""
        return resize_like(self.level(self.halve(features)), features)


class Level(nn.Module):
    """One row of the U and all below it.

    What comes up from below is joined to what goes across and convolved. That is the sum of a convolution of each,
    which is how it is computed here, so that the levels below may be left out.

    Args:
        down: Convolutions before the level below.
        across: The convolution of what they make.
        below: Adds to that what comes up from the level below.
        up: What follows.
    """

    def __init__(self, down: nn.Module, across: nn.Module, below: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.down, self.across, self.below, self.up = down, across, below, up

    def forward(self, images: Tensor) -> Tensor:
        """``(n, in_width, h, w)`` to ``(n, width, h, w)``."""
        features = self.down(images)
        output: Tensor = self.up(self.below(self.across(features), features))
        return output


def unet(classes: int, channels: int = 3, scale: float = 0.25) -> nn.Module:
    """Return the network, 147,024 architectures: 2 to 5 levels, each with one width and one or two convolutions a side.

    It differs from the published one in that convolutions keep the size, are normalised (Ioffe 2015), and what comes up
    is enlarged by interpolation, which fits images of any size; a second convolution has a skip around it.

    Args:
        classes: Channels of the output.
        channels: Channels of the images.
        scale: Multiplies every width; 1 for the published ones.

    Shape:
        ``(n, channels, h, w)`` to ``(n, classes, h, w)``, from 64 to 513 pixels.
    """
    widths = [
        choice(f"level{number}.width", *scale_widths(width, scale))
        for number, width in enumerate(_WIDTHS, start=1)
    ]
    levels = choice("levels", *range(2, len(widths) + 1))
    return nn.Sequential(_level(1, channels, widths, levels), elastic.Conv2d(widths[0], classes, 1))


def _level(number: int, in_width: Size, widths: Sequence[Size], levels: Choice) -> nn.Module:
    """Return the level of that number, counted from 1 at the top, with all below it.

    Args:
        number: Its own.
        in_width: Channels of its input.
        widths: Its own and those of the levels below it.
        levels: How many are in use.
    """
    width, *deeper = widths

    def row(side: str, *first: nn.Module) -> nn.Module:
        again = elastic.Repeat(
            lambda _: Residual(Activated(width, width, 3)),
            times=choice(f"level{number}.{side}.extra_depth", 0, 1),
        )
        return nn.Sequential(*first, again)

    def half(in_width: Size) -> nn.Module:
        return elastic.Conv2d(in_width, width, 3, padding="same", bias=False)

    down = row("down", Activated(in_width, width, 3))
    if not deeper:
        return down
    coming_up = Term(Deeper(_level(number + 1, width, deeper, levels)), half(deeper[0]))
    # In use where there are more levels than this one's number.
    below = Skippable(coming_up, number, levels, alone=False)
    return Level(down, half(width), below, row("up", elastic.BatchNorm2d(width), nn.ReLU(inplace=True)))
