"""DeepLabV3+ (Chen 2018) with elastic backbone, atrous spatial pyramid pooling and decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.skipping import Skippable
from search_spaces.convnet import InvertedResidual
from search_spaces.convolutions import Activated, Residual, Separable, Term, resize_like, scale_widths

Backbone = Literal["mobilenet", "xception"]

_PUBLISHED_SIDE = 33
"""Side of the map that the published rates 6, 12 and 18 are for: 513 pixels at an output stride of 16."""
_COARSEST_SMALL = 256
"""Images of fewer pixels keep an output stride of 8: a sixteenth of them leaves the pyramid nothing to look at."""


class XceptionBlock(nn.Module):
    """Three separable convolutions, the last with the stride, and a skip (Chen 2018, figure 4).

    Args:
        name: Prefix of this block's choices.
        in_width: Channels of the input.
        out_width: Channels of the output.
        stride: Stride of the last convolution.
        skip: Whether the input is added as it is; otherwise it is projected first.
        dilation: Dilation of the depthwise convolutions, which are 3x3 where they are dilated.
    """

    def __init__(
        self, name: str, in_width: Size, out_width: Size, *, stride: int = 1, skip: bool, dilation: int = 1
    ) -> None:
        super().__init__()
        kernel = choice(f"{name}.kernel", 3, 5) if dilation == 1 else 3
        self.layers = nn.Sequential(
            Separable(in_width, out_width, kernel, dilation=dilation),
            Separable(out_width, out_width, kernel, dilation=dilation),
            Separable(out_width, out_width, kernel, stride=stride, dilation=dilation),
        )
        self.shortcut: nn.Module = nn.Identity()
        if not skip:
            self.shortcut = nn.Sequential(
                elastic.Conv2d(in_width, out_width, 1, stride=stride, bias=False),
                elastic.BatchNorm2d(out_width),
            )

    def forward(self, images: Tensor) -> Tensor:
        """``(n, in_width, h, w)`` to ``(n, out_width, h / stride, w / stride)``."""
        output: Tensor = self.layers(images) + self.shortcut(images)
        return output


@final
@dataclass(frozen=True)
class _Stage:
    """Blocks of one width, of which the first changes the shape and the others may be left out.

    Args:
        width: The largest.
        stride: Stride of the first block, as long as the output stride allows it.
        extra_depths: Options of how many blocks follow the first.
    """

    width: int
    stride: int
    extra_depths: tuple[int, ...]


_STEM = {"mobilenet": (16, 24), "xception": (16, 32)}
_STAGES = {
    # Sandler 2018, table 2; its last stage, which only widens, is left to the pyramid.
    "mobilenet": (
        _Stage(24, 2, (0, 1)),
        _Stage(32, 2, (0, 1, 2)),
        _Stage(64, 2, (0, 1, 2, 3)),
        _Stage(96, 1, (0, 1, 2)),
        _Stage(160, 2, (0, 1, 2)),
    ),
    # Chen 2018, figure 4, a quarter as wide and with half of its middle flow.
    "xception": (
        _Stage(32, 2, (0,)),
        _Stage(64, 2, (0,)),
        _Stage(184, 2, (2, 4, 6, 8)),
        _Stage(256, 1, (0, 1)),
    ),
}


def _mobilenet_block(
    name: str, in_width: Size, out_width: Size, *, stride: int = 1, skip: bool, dilation: int = 1
) -> nn.Module:
    return InvertedResidual(
        name, in_width, out_width, stride=stride, skip=skip, dilation=dilation, expansions=(2, 4, 6)
    )


_Block = Callable[..., nn.Module]
_BLOCKS: dict[str, _Block] = {"mobilenet": _mobilenet_block, "xception": XceptionBlock}


class Encoder(nn.Module):
    """A backbone that also gives the features of its first stage, a quarter of the image's height and width.

    Args:
        stem: From the image to half its size.
        first: The stage that makes the features for the decoder.
        rest: The other stages.
    """

    def __init__(self, stem: nn.Module, first: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.stem, self.first, self.rest = stem, first, rest

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, c, h, w)`` to features of a quarter of the size, and of the output stride."""
        fine: Tensor = self.first(self.stem(images))
        return fine, self.rest(fine)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling of separable convolutions (Chen 2018, section 3.1).

    What joins the branches there is a 1x1 convolution of their concatenation. That is the sum of a 1x1 convolution of
    each, which is how it is computed here, so that any branch but the first may be left out.

    Args:
        in_width: Channels of the input.
        width: Width of every branch, and of the output.
        rates: Rates of each dilated branch, the options.
    """

    def __init__(self, in_width: Size, width: Size, rates: Sequence[tuple[int, int]]) -> None:
        super().__init__()

        def join() -> nn.Module:
            return elastic.Conv2d(width, width, 1, bias=False)

        def maybe(name: str, *layers: nn.Module) -> nn.Module:
            return Skippable(Term(*layers, join()), 0, choice(f"pyramid.{name}.present", 0, 1), alone=False)

        self.first = nn.Sequential(Activated(in_width, width), join())
        dilated = [
            maybe(
                f"{number}",
                Separable(in_width, width, 3, dilation=choice(f"pyramid.{number}.rate", *options)),
            )
            for number, options in enumerate(rates, start=1)
        ]
        # No batch norm here: a batch of one image has one value per channel.
        image = (nn.AdaptiveAvgPool2d(1), elastic.Conv2d(in_width, width, 1), nn.ReLU(inplace=True))
        self.branches = nn.ModuleList([*dilated, maybe("image", *image)])
        self.activation = nn.Sequential(elastic.BatchNorm2d(width), nn.ReLU(inplace=True))

    def forward(self, features: Tensor) -> Tensor:
        """``(n, in_width, h, w)`` to ``(n, width, h, w)``."""
        total: Tensor = self.first(features)
        for branch in self.branches:
            total = branch(total, features)
        output: Tensor = self.activation(total)
        return output


class Decoder(nn.Module):
    """Coarse features join fine ones, and every pixel gets its classes (Chen 2018, section 3.1).

    The first of the two convolutions is of the concatenation; here it is the sum of one for each, which is the same.

    Args:
        coarse_width: Channels of the pyramid.
        fine_width: Channels of the encoder's fine features.
        classes: Channels of the output.
        scale: Multiplies every width.
    """

    def __init__(self, coarse_width: Size, fine_width: Size, classes: int, scale: float) -> None:
        super().__init__()
        reduced = choice("decoder.fine_width", *scale_widths(48, scale))
        width = choice("decoder.width", *scale_widths(128, scale))
        kernel = choice("decoder.kernel", 3, 5)

        def half(in_width: Size) -> nn.Module:
            return nn.Sequential(
                Activated(in_width, in_width, kernel, groups=in_width),
                elastic.Conv2d(in_width, width, 1, bias=False),
            )

        self.reduce = Activated(fine_width, reduced)
        self.coarse, self.fine = half(coarse_width), half(reduced)
        self.rest = nn.Sequential(
            elastic.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            elastic.Repeat(
                lambda _: Residual(Separable(width, width, kernel)), times=choice("decoder.depth", 0, 1)
            ),
            elastic.Conv2d(width, classes, 1),
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """``(n, coarse_width, h', w')`` and ``(n, fine_width, h, w)`` to ``(n, classes, h, w)``."""
        enlarged = resize_like(coarse, fine)
        output: Tensor = self.rest(self.coarse(enlarged) + self.fine(self.reduce(fine)))
        return output


class DeepLabV3Plus(nn.Module):
    """Encoder, pyramid and decoder."""

    def __init__(self, encoder: Encoder, pyramid: Pyramid, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.pyramid, self.decoder = encoder, pyramid, decoder

    def forward(self, images: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, classes, h, w)``."""
        fine, coarse = self.encoder(images)
        return resize_like(self.decoder(self.pyramid(coarse), fine), images)


def deeplabv3plus(
    classes: int,
    channels: int = 3,
    resolution: int = 256,
    backbone: Backbone = "mobilenet",
    scale: float = 1.0,
) -> nn.Module:
    """Return the network: with MobileNetV2's blocks 2.5e16 architectures below 256 pixels, 2.2e18 above.

    With Xception's they are 1.4e8 and 6.9e10. Every stage has one width and blocks that may be left out; every block
    that isn't dilated has its kernel, and every inverted residual (Sandler 2018) its expansion. Every branch of the
    pyramid but the first may be left out, and every dilated one has two rates.

    Args:
        classes: Channels of the output.
        channels: Channels of the images.
        resolution: Shorter side of the images, 64 to 513; sets the output stride, 8 or 16, and the rates.
        backbone: Inverted residuals, or an Xception a quarter as wide as the published one.
        scale: Multiplies every width.

    Shape:
        ``(n, channels, h, w)`` to ``(n, classes, h, w)``.
    """
    output_stride = 8 if resolution < _COARSEST_SMALL else 16
    encoder, fine_width, coarse_width = _encoder(channels, backbone, output_stride, scale)
    width = choice("pyramid.width", *scale_widths(128, scale))
    pyramid = Pyramid(coarse_width, width, _rates(resolution // output_stride))
    return DeepLabV3Plus(encoder, pyramid, Decoder(width, fine_width, classes, scale))


def _encoder(
    channels: int, backbone: Backbone, output_stride: int, scale: float
) -> tuple[Encoder, Size, Size]:
    """Return the encoder, and the widths of what it gives; strides past the output stride become dilation."""
    block = _BLOCKS[backbone]
    narrow, wide = (
        choice(f"stem.width{n}", *scale_widths(w, scale)) for n, w in enumerate(_STEM[backbone], 1)
    )
    stem = nn.Sequential(Activated(channels, narrow, 3, stride=2), Activated(narrow, wide, 3))
    width: Size = wide
    widths, stages = [], []
    reached, dilation = 2, 1
    for number, stage in enumerate(_STAGES[backbone], start=1):
        stride = stage.stride if reached < output_stride else 1
        reached, dilation = reached * stride, dilation * stage.stride // stride
        before, width = width, choice(f"stage{number}.width", *scale_widths(stage.width, scale))
        first = block(f"stage{number}.0", before, width, stride=stride, skip=False, dilation=dilation)
        stages.append(nn.Sequential(first, _make_following(block, f"stage{number}", width, dilation, stage)))
        widths.append(width)
    return Encoder(stem, stages[0], nn.Sequential(*stages[1:])), widths[0], widths[-1]


def _make_following(block: _Block, name: str, width: Size, dilation: int, stage: _Stage) -> nn.Module:
    """Return the blocks of a stage after its first one; they keep the shape."""
    if stage.extra_depths == (0,):
        return nn.Identity()
    return elastic.Repeat(
        lambda position: block(f"{name}.{position + 1}", width, width, skip=True, dilation=dilation),
        times=choice(f"{name}.extra_depth", *stage.extra_depths),
    )


def _rates(side: int) -> list[tuple[int, int]]:
    """Return two rates for each of three branches, the larger ones as far apart on the map as the published ones."""
    unit = max(1, round(3 * side / _PUBLISHED_SIDE))
    return [(unit * (2 * branch - 1), unit * 2 * branch) for branch in (1, 2, 3)]
