"""Augmentation of batches that already lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GROUP_SIZE = 8
"""Images that share one draw of the transform's parameters."""


def augmented(images: Tensor, transform: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Return ``images`` with ``transform`` applied to groups of eight.

    A transform of torchvision v2 draws its parameters once per call, and a call per image costs more
    than the training step on small images. Batches are shuffled, so the groups change every epoch.

    Args:
        images: ``(n, channels, height, width)`` float32.
        transform: Keeps the shape; None for no augmentation. Draws from torch's global generator,
            which the training loop seeds.
    """
    if transform is None:
        return images
    return torch.cat([transform(group) for group in images.split(GROUP_SIZE)])
