"""A residual network with elastic width, depth, kernel and, in bottlenecks, expansion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic

_EXPANSION = 4
"""How much wider a bottleneck's output is than the narrowest form of its middle (He 2016, figure 5)."""


class Residual(nn.Module):
    """The layers' output is added to the input, or to a projection of it where the shape changes.

    Args:
        layers: From ``in_width`` to ``out_width`` channels.
        in_width: Channels of the input.
        out_width: Channels of the output.
        stride: Stride of the layers.
        project: Whether the shape changes.
    """

    def __init__(
        self, layers: nn.Module, in_width: Size, out_width: Size, *, stride: int, project: bool
    ) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                elastic.Conv2d(in_width, out_width, 1, stride=stride, bias=False),
                elastic.BatchNorm2d(out_width),
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, in_width, h, w)`` to ``(n, out_width, h / stride, w / stride)``."""
        output: Tensor = self.activation(self.layers(images) + self.shortcut(images))
        return output


def basic(name: str, in_width: Size, out_width: Size, *, stride: int, project: bool) -> Residual:
    """Return a block of two convolutions (He 2016, figure 5 left)."""
    layers = nn.Sequential(
        elastic.Conv2d(
            in_width, out_width, choice(f"{name}.kernel1", 3, 5), stride=stride, padding="same", bias=False
        ),
        elastic.BatchNorm2d(out_width),
        nn.ReLU(inplace=True),
        elastic.Conv2d(out_width, out_width, choice(f"{name}.kernel2", 3, 5), padding="same", bias=False),
        elastic.BatchNorm2d(out_width),
    )
    return Residual(layers, in_width, out_width, stride=stride, project=project)


def bottleneck(name: str, in_width: Size, out_width: Size, *, stride: int, project: bool) -> Residual:
    """Return a block that narrows, filters and widens (He 2016, figure 5 right); its middle is elastic."""
    # Of the output, because that is the same for all blocks of a stage: 1, 2 or 3 eighths of it.
    middle = choice(f"{name}.expansion", 1, 2, 3) * (out_width // (2 * _EXPANSION))
    kernel = choice(f"{name}.kernel", 3, 5)
    layers = nn.Sequential(
        elastic.Conv2d(in_width, middle, 1, bias=False),
        elastic.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        elastic.Conv2d(middle, middle, kernel, stride=stride, padding="same", bias=False),
        elastic.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        elastic.Conv2d(middle, out_width, 1, bias=False),
        elastic.BatchNorm2d(out_width),
    )
    return Residual(layers, in_width, out_width, stride=stride, project=project)


_BLOCKS = {"basic": basic, "bottleneck": bottleneck}


def resnet(
    classes: int,
    channels: int = 3,
    resolution: int = 32,
    block: Literal["basic", "bottleneck"] = "basic",
    scale: float = 1.0,
) -> nn.Module:
    """Return the network: 4.8e7 architectures of basic blocks below 64 pixels, 1.2e10 above.

    Bottlenecks make 1.4e9 and 1.1e12. Every stage has one width and one to three blocks; every block has
    its kernels and, in bottlenecks, the width of its middle.

    Args:
        classes: Size of the output.
        channels: Channels of the images, 1 or 3.
        resolution: Height and width of the images, 8 to 224; sets the stem and the number of stages.
        block: Two convolutions, or three with a narrow middle.
        scale: Multiplies every width.

    Shape:
        ``(n, channels, resolution, resolution)`` to ``(n, classes)``.
    """
    factor = _EXPANSION if block == "bottleneck" else 1

    def widths(*base: int) -> tuple[int, ...]:
        return tuple(sorted({max(8, round(width * scale / 8) * 8) * factor for width in base}))

    width: Size = choice("stem.width", *widths(8, 16, 24))
    large = resolution >= 64
    layers: list[nn.Module] = [
        elastic.Conv2d(
            channels, width, 7 if large else 3, stride=2 if large else 1, padding="same", bias=False
        ),
        elastic.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        *([nn.MaxPool2d(3, stride=2, padding=1)] if large else []),
    ]
    stages = [widths(16, 24, 32), widths(24, 40, 64), widths(48, 80, 128)]
    if large:
        stages.append(widths(96, 160, 256))
    for number, options in enumerate(stages, start=1):
        stage = f"stage{number}"
        before, width = width, choice(f"{stage}.width", *options)
        first = _BLOCKS[block](f"{stage}.0", before, width, stride=1 if number == 1 else 2, project=True)
        layers += [
            first,
            elastic.Repeat(
                _make_following(block, stage, width), times=choice(f"{stage}.extra_depth", 0, 1, 2)
            ),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), elastic.Linear(width, classes))


def _make_following(block: str, stage: str, width: Size) -> Callable[[int], Residual]:
    """Return what makes the blocks of a stage after its first one; they keep the shape."""
    return lambda position: _BLOCKS[block](f"{stage}.{position + 1}", width, width, stride=1, project=False)
