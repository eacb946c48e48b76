"""Networks whose images are resized first."""

from __future__ import annotations

from typing import Any, cast, final

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from nas.choices import Choice


@final
class Resized(nn.Module):
    """A network that is given its images at another resolution.

    Every argument of shape ``(n, channels, height, width)`` and of real numbers is resized, bilinearly and with
    antialiasing, as image libraries do it. ``module`` takes images that have the size already.

    Args:
        module: The network.
        side: Height and width that it gets.
        given: Height and width of the images that the network was written for; with these nothing is resized.
    """

    def __init__(self, module: nn.Module, side: int | Choice, given: int) -> None:
        super().__init__()
        self.module = module
        self.side = cast(int, side)
        self.given = given

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the network on resized images."""
        if self.side == self.given:
            return self.module(*inputs, **named)
        inputs, named = tree_map(self._resize, (inputs, named))
        return self.module(*inputs, **named)

    def _resize(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim != 4 or not value.is_floating_point():
            return value
        return F.interpolate(value, (self.side, self.side), mode="bilinear", antialias=True)


@final
class Enlarged(nn.Module):
    """A network that is given its images larger than they come, bilinearly.

    It takes the images as the data source has them, and so do their augmentation and the exported file.

    Args:
        module: The network; takes ``(n, channels, height, width)``.
        factor: What height and width are multiplied by, from 1 on.
    """

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module = module
        self.factor = factor

    def forward(self, images: Tensor) -> Any:
        """Run the network on enlarged images."""
        size = [round(side * self.factor) for side in images.shape[-2:]]
        return self.module(F.interpolate(images, size, mode="bilinear"))
