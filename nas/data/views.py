"""Random views of images, as contrastive learning compares them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.checks import check_numbers
from nas.errors import StudyError

_RATIO = math.log(4 / 3)
"""A crop is up to a third wider than high, or higher than wide, before it is scaled back (Chen 2020, appendix A)."""
_GREY = 0.2
"""Share of colour images that lose their colours (Chen 2020, appendix A)."""


@final
@dataclass(frozen=True)
class RandomViews:
    """A random view of each image: a part of it at full size, perhaps mirrored, lighter or darker (Chen 2020).

    A *variant* of their appendix A: brightness, contrast and saturation change the normalised values, there is no
    change of hue, and nothing is blurred. Draws from torch's global generator, for each image by itself. As the
    ``augment`` of a recipe it needs images that data hold normalised, as ``Digits`` do.

    Args:
        least_area: Smallest share of the image that a view shows.
        mirror: Whether half of the views are mirrored, which letters and digits don't bear.
        jitter: By how much contrast and saturation change at most, as a share, and brightness, in deviations.

    Raises:
        StudyError: a number is out of range.
    """

    least_area: float = 0.25
    mirror: bool = True
    jitter: float = 0.4

    def __post_init__(self) -> None:
        check_numbers(self, "least_area", "jitter")
        if not (0 < self.least_area <= 1 and 0 <= self.jitter < 1):
            raise StudyError(f"{self} is out of range: least_area lies in (0, 1] and jitter in [0, 1).")

    def __call__(self, images: Tensor) -> Tensor:
        """Return views of ``(n, channels, height, width)`` floats, of the same shape."""
        seen = F.grid_sample(images, self._grid(images), padding_mode="border", align_corners=False)
        if images.shape[1] > 1:
            grey = seen.mean(1, keepdim=True)
            kept = (_uniform(images, 0, 1) >= _GREY) * self._factor(images)
            seen = grey + (seen - grey) * kept
        return seen * self._factor(images) + _uniform(images, -self.jitter, self.jitter)

    def _factor(self, images: Tensor) -> Tensor:
        return _uniform(images, 1 - self.jitter, 1 + self.jitter)

    def _grid(self, images: Tensor) -> Tensor:
        area = _uniform(images, self.least_area, 1).flatten()
        ratio = _uniform(images, -_RATIO, _RATIO).flatten().exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        left, top = (
            _uniform(images, -1, 1).flatten() * (1 - width),
            _uniform(images, -1, 1).flatten() * (1 - height),
        )
        if self.mirror:
            width = width * torch.where(_uniform(images, 0, 1).flatten() < 0.5, -1, 1)
        none = torch.zeros_like(width)
        rows = torch.stack([torch.stack([width, none, left], 1), torch.stack([none, height, top], 1)], 1)
        return F.affine_grid(rows, list(images.shape), align_corners=False)


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Return a number for each image, ``(n, 1, 1, 1)``."""
    return images.new_empty(len(images), 1, 1, 1).uniform_(low, high)
