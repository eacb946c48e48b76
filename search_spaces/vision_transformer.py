"""A Vision Transformer with elastic embedding, depth, heads and MLP ratio."""

from __future__ import annotations

from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.errors import SpaceError
from nas.supernet import elastic
from nas.supernet.token_layers import LayerNorm, Positions
from search_spaces.transformer import EncoderBlock


class Patches(nn.Module):
    """Square patches as tokens of elastic width (Dosovitskiy 2021, section 3.1).

    Args:
        channels: Channels of the images.
        width: Features of a token.
        size: Side of a patch in pixels.
    """

    def __init__(self, channels: int, width: Size, size: int) -> None:
        super().__init__()
        self.projection = elastic.Conv2d(channels, width, size, stride=size)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, h * w / size**2, width)``."""
        output: Tensor = self.projection(images).flatten(2).transpose(1, 2)
        return output


class TokenAverage(nn.Module):
    """Mean over the tokens: ``(n, length, width)`` to ``(n, width)``, in place of a class token (Beyer 2022)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the mean over the tokens."""
        return tokens.mean(1)


def vision_transformer(
    classes: int, channels: int = 3, resolution: int = 32, patch: int = 4, scale: float = 1.0
) -> nn.Module:
    """Return the network: 1.3e9 architectures.

    The width of a token is the same in every block; each block has its number of heads and its MLP ratio, as
    in Chen 2021. A head has 16 features.

    Args:
        classes: Size of the output.
        channels: Channels of the images, 1 or 3.
        resolution: Height and width of the images, a multiple of ``patch``.
        patch: Side of a patch in pixels.
        scale: Multiplies the width and the number of heads.

    Shape:
        ``(n, channels, resolution, resolution)`` to ``(n, classes)``.

    Raises:
        SpaceError: patches don't fill the images.
    """
    if resolution < patch or resolution % patch:
        raise SpaceError(
            f"patches of {patch} pixels don't fill an image of {resolution}: choose a patch that divides it."
        )
    width = choice("width", *sorted({max(16, round(base * scale / 16) * 16) for base in (48, 64, 96)}))
    heads = tuple(sorted({max(1, round(base * scale)) for base in (2, 4, 6)}))

    def block(position: int) -> EncoderBlock:
        return EncoderBlock(f"block{position}", width, heads=heads, head_size=16, ratios=(1, 2, 3, 4))

    return nn.Sequential(
        Patches(channels, width, patch),
        Positions((resolution // patch) ** 2, width),
        elastic.Repeat(block, times=choice("depth", 4, 6, 8)),
        LayerNorm(width),
        TokenAverage(),
        elastic.Linear(width, classes),
    )
