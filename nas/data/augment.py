"""Augmentation of batches that already lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nas.checks import failing_as
from nas.errors import StudyError

GROUP_SIZE = 8
"""Images that share one draw of the transform's parameters."""


def augmented(images: Tensor, transform: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Return ``images`` with ``transform`` applied to groups of eight.

    A transform of torchvision v2 draws its parameters once per call, and a call per image costs more
    than the training step on small images. Batches are shuffled, so the groups change every epoch.

    Args:
        images: ``(n, channels, height, width)`` as a split holds them: uint8, or floats.
        transform: Keeps shape and dtype; None for no augmentation. Draws from torch's global generator,
            which the training loop seeds.

    Raises:
        StudyError: the transform gives another shape or dtype.
    """
    if transform is None:
        return images
    with failing_as(StudyError, "the recipe's augment failed", "mend it, or leave it out"):
        changed = torch.cat([transform(group) for group in images.split(GROUP_SIZE)]).detach()
    if _form(changed) != _form(images):
        raise StudyError(
            f"the recipe's augment makes {changed.dtype} of shape {tuple(changed.shape)} on {changed.device} out of "
            f"{images.dtype} of shape {tuple(images.shape)} on {images.device}: let it keep both, and the device; "
            "transforms for floats stand between v2.ToDtype(torch.float32, scale=True) and "
            "v2.ToDtype(torch.uint8, scale=True)."
        )
    return changed


def _form(images: Tensor) -> tuple[object, ...]:
    return images.shape, images.dtype, images.device, images.layout
