"""An inverted-residual network with elastic width, depth, kernel and expansion."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler 2018, figure 4d); a skip where the shape stays.

    Args:
        name: Prefix of this block's choices.
        in_width: Channels of the input.
        out_width: Channels of the output.
        stride: Stride of the depthwise convolution.
        skip: Whether the input is added to the output.
        dilation: Dilation of the depthwise convolution, which is 3x3 where it is dilated.
        expansions: Options of the hidden width over ``in_width``.
    """

    def __init__(
        self,
        name: str,
        in_width: Size,
        out_width: Size,
        *,
        stride: int = 1,
        skip: bool,
        dilation: int = 1,
        expansions: tuple[int, ...] = (1, 2, 4),
    ) -> None:
        super().__init__()
        hidden = choice(f"{name}.expansion", *expansions) * in_width
        kernel = choice(f"{name}.kernel", 3, 5) if dilation == 1 else 3
        self.skip = skip
        self.layers = nn.Sequential(
            elastic.Conv2d(in_width, hidden, 1, bias=False),
            elastic.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            elastic.Conv2d(
                hidden,
                hidden,
                kernel,
                stride=stride,
                padding="same",
                dilation=dilation,
                groups=hidden,
                bias=False,
            ),
            elastic.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            elastic.Conv2d(hidden, out_width, 1, bias=False),
            elastic.BatchNorm2d(out_width),
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(n, in_width, h, w)`` to ``(n, out_width, h / stride, w / stride)``."""
        output: Tensor = self.layers(images)
        return images + output if self.skip else output


def residuals(stage: str, width: Size) -> Callable[[int], InvertedResidual]:
    """Return what makes the blocks of a stage after its first one; they keep the shape."""
    return lambda position: InvertedResidual(f"{stage}.{position + 1}", width, width, stride=1, skip=True)


class GlobalAverage(nn.Module):
    """Mean over the pixels: ``(n, c, h, w)`` to ``(n, c)``."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean over the pixels."""
        return images.mean((2, 3))


def convnet(classes: int, channels: int = 3, resolution: int = 32, scale: float = 1.0) -> nn.Module:
    """Return the network: 1.4e9 architectures below 32 pixels, 1.1e12 below 128, 8.3e14 above.

    Every stage has one width and one to three blocks; every block has its kernel and its expansion.
    ReLU and no squeeze-and-excitation, because they stay fast and accurate in int8.

    Args:
        classes: Size of the output.
        channels: Channels of the images, 1 or 3.
        resolution: Height and width of the images, 8 to 224; sets how often the network halves them.
        scale: Multiplies every width.

    Shape:
        ``(n, channels, resolution, resolution)`` to ``(n, classes)``.
    """

    def widths(*base: int) -> tuple[int, ...]:
        return tuple(sorted({max(4, round(width * scale / 4) * 4) for width in base}))

    width: Size = choice("stem.width", *widths(4, 8, 16))
    stem_stride = 2 if resolution >= 64 else 1
    layers: list[nn.Module] = [
        elastic.Conv2d(channels, width, 3, stride=stem_stride, padding="same", bias=False),
        elastic.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    stages = [(widths(4, 8, 16), 1), (widths(8, 16, 32), 2), (widths(12, 24, 48), 2)]
    if resolution >= 32:
        stages.append((widths(20, 40, 80), 2))
    if resolution >= 128:
        stages.append((widths(32, 64, 128), 2))
    for number, (options, stride) in enumerate(stages, start=1):
        stage = f"stage{number}"
        before, width = width, choice(f"{stage}.width", *options)
        layers += [
            InvertedResidual(f"{stage}.0", before, width, stride=stride, skip=False),
            elastic.Repeat(residuals(stage, width), times=choice(f"{stage}.extra_depth", 0, 1, 2)),
        ]
    return nn.Sequential(*layers, GlobalAverage(), elastic.Linear(width, classes))
