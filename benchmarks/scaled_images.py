"""Images of another size than a data source's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.errors import DataError, StudyError
from nas.splits import DataSource, Split, Splits

_AT_A_TIME = 512
"""Images that are resized together, in float32: the whole split may not fit into the memory so."""


@final
@dataclass(frozen=True)
class ScaledImages:
    """A data source's images, their height and width multiplied (bilinear, with anti-aliasing).

    Args:
        source: Gives images ``(n, channels, height, width)``, and targets that are no images.
        factor: What height and width are multiplied by.

    Raises:
        StudyError: the factor is not positive.
    """

    source: DataSource
    factor: float

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise StudyError(
                f"images are to be resized by the factor {self.factor}: a positive one is needed."
            )

    def load(self) -> Splits:
        """Return the splits.

        Raises:
            DataError: these are no images, or their targets are images too.
        """
        splits = self.source.load()
        train, search, test = (
            self._resize(splits.name, split) for split in (splits.train, splits.search, splits.test)
        )
        fingerprint = f"{splits.fingerprint} x {self.factor!r}"
        return replace(
            splits, train=train, search=search, test=test, fingerprint=fingerprint, unlabelled=None
        )

    def _resize(self, name: str, split: Split) -> Split:
        images = split.inputs
        if isinstance(images, tuple) or images.dim() != 4 or split.targets.dim() > 2:
            raise DataError(
                f"the items of {name} are not images with a class each, so their resolution can't be scaled: scale "
                "depth and width alone."
            )
        size = [max(1, round(side * self.factor)) for side in images.shape[-2:]]
        made = [_interpolate(part, size) for part in images.split(_AT_A_TIME)]
        return replace(split, inputs=torch.cat(made), mapped=False)


def _interpolate(images: Tensor, size: list[int]) -> Tensor:
    found = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    if images.dtype == torch.uint8:
        return found.round_().clamp_(0, 255).to(torch.uint8)
    return found.to(images.dtype)
