"""Augmentation of batches that already lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from nas.checks import failing_as
from nas.errors import StudyError
from nas.inputs import Inputs

GROUP_SIZE = 8
"""Images that share one draw of the transform's parameters."""
_KEPT = 254
"""A value that nobody fills masks with: it is the number of no class in use, and 255 is what is ignored."""


def augment(
    inputs: Inputs, targets: Tensor, transform: Callable[..., Any] | None, ignored: int | None = None
) -> tuple[Inputs, Tensor]:
    """Return a batch with ``transform`` applied to groups of eight, whose targets go along where they are masks.

    A transform of torchvision v2 draws its parameters once per call, and a call per image costs more
    than the training step on small images. Batches are shuffled, so the groups change every epoch. Targets of the
    images' height and width are masks: they are turned and cut as the images are, as ``tv_tensors.Mask``.

    Args:
        inputs: ``(n, channels, height, width)`` as a split holds them: uint8, or floats.
        targets: ``(n, *)``.
        transform: Keeps shape and dtype; None for no augmentation. Draws from torch's global generator,
            which the training loop seeds. Takes images; or images and ``(n, 2, height, width)``: their masks, and
            a constant, which shows where it fills.
        ignored: What masks hold where the transform fills, whatever it fills with; None for what that is.

    Raises:
        StudyError: the transform gives another shape or dtype, or the network takes several inputs.
    """
    if transform is None:
        return inputs, targets
    if isinstance(inputs, tuple):
        raise StudyError("the recipe's augment is for one input and the network takes several: leave it out.")
    changed, moved = [], []
    with failing_as(StudyError, "the recipe's augment failed", "mend it, or leave it out"):
        for group, wanted in zip(inputs.split(GROUP_SIZE), targets.split(GROUP_SIZE), strict=True):
            if are_masks(inputs, targets):
                group, wanted = _transform_together(group, wanted, transform, ignored)
            else:
                group = transform(group)
            changed.append(group)
            moved.append(wanted)
        images, masks = torch.cat(changed).detach(), torch.cat(moved)
    _check_form(images, inputs)
    _check_form(masks, targets)
    return images, masks


def _transform_together(
    images: Tensor, masks: Tensor, transform: Callable[..., Any], ignored: int | None
) -> tuple[Tensor, Tensor]:
    """Return images and masks after one call of a transform."""
    constant = torch.full_like(masks, _KEPT)
    image, mask = transform(tv_tensors.Image(images), tv_tensors.Mask(torch.stack([masks, constant], dim=1)))
    classes, whole = mask.as_subclass(Tensor).unbind(dim=1)
    # Transforms fill masks with 0 unless told otherwise, which is a class.
    filled = classes if ignored is None else torch.where(whole == _KEPT, classes, ignored)
    return image.as_subclass(Tensor), filled


def are_masks(inputs: Tensor, targets: Tensor) -> bool:
    """Whether targets have a value for each pixel of ``(n, channels, height, width)`` images."""
    return inputs.ndim == 4 and targets.ndim == 3 and inputs.shape[2:] == targets.shape[1:]


def _check_form(changed: Tensor, given: Tensor) -> None:
    if _form(changed) != _form(given):
        raise StudyError(
            f"the recipe's augment makes {changed.dtype} of shape {tuple(changed.shape)} on {changed.device} out of "
            f"{given.dtype} of shape {tuple(given.shape)} on {given.device}: let it keep both, and the device; "
            "transforms for floats stand between v2.ToDtype(torch.float32, scale=True) and "
            "v2.ToDtype(torch.uint8, scale=True)."
        )


def _form(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device, tensor.layout
