"""Parts that the networks for segmentation share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size
from nas.supernet import elastic


class Activated(nn.Sequential):
    """A convolution that keeps height and width at stride 1, batch norm and ReLU."""

    def __init__(
        self,
        in_width: Size,
        out_width: Size,
        kernel: Size = 1,
        *,
        stride: int = 1,
        dilation: Size = 1,
        groups: Size = 1,
    ) -> None:
        super().__init__(
            elastic.Conv2d(
                in_width,
                out_width,
                kernel,
                stride=stride,
                padding="same",
                dilation=dilation,
                groups=groups,
                bias=False,
            ),
            elastic.BatchNorm2d(out_width),
            nn.ReLU(inplace=True),
        )


class Separable(nn.Sequential):
    """A depthwise and a pointwise convolution, each with batch norm and ReLU (Chen 2018, figure 3)."""

    def __init__(
        self, in_width: Size, out_width: Size, kernel: Size, *, stride: int = 1, dilation: Size = 1
    ) -> None:
        super().__init__(
            Activated(in_width, in_width, kernel, stride=stride, dilation=dilation, groups=in_width),
            Activated(in_width, out_width),
        )


class Residual(nn.Sequential):
    """Adds what its layers make to their input, so that a network which was trained with it can do without it."""

    def forward(self, features: Tensor) -> Tensor:
        """``(n, width, h, w)`` to the same shape."""
        made = features
        for layer in self:
            made = layer(made)
        return features + made


class Term(nn.Sequential):
    """Adds what its layers make of features to a sum.

    A convolution of several tensors joined along their channels is the sum of a convolution of each. Written so, any of
    them may have a width of its own, or be left out.
    """

    def forward(self, total: Tensor, features: Tensor) -> Tensor:  # type: ignore[override]
        """``(n, width, h, w)`` and what its layers take to ``(n, width, h, w)``."""
        for layer in self:
            features = layer(features)
        return total + features


def resize_like(features: Tensor, example: Tensor) -> Tensor:
    """Return features of the example's height and width, bilinear."""
    return F.interpolate(features, size=example.shape[-2:], mode="bilinear", align_corners=False)


def scale_widths(largest: int, scale: float) -> tuple[int, ...]:
    """Return a half, three quarters and all of a width, in multiples of 4."""
    return tuple(sorted({max(4, round(largest * scale * part / 4) * 4) for part in (0.5, 0.75, 1)}))
