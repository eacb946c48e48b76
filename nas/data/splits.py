"""One data set into train, search and test: stratified, seeded, fingerprinted."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from nas.data.selection import check_every_class
from nas.errors import DataError
from nas.protocols import Split, Splits


def split_images(
    name: str,
    images: Tensor,
    labels: Tensor,
    *,
    search_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
) -> Splits:
    """Split labelled images into train, search and test, and normalise them with train's statistics.

    Args:
        name: Of the data set, for reports.
        images: ``(n, channels, height, width)``, any real dtype.
        labels: ``(n,)`` integers; every class from 0 to the largest label must occur.
        search_share: Part of all images that judges candidates.
        test_share: Part of all images that is kept for the winners.
        seed: Of the split.

    Returns:
        Splits in which every class has about its share of the whole.

    Raises:
        DataError: shapes don't fit, a value is not finite, or a class has too few images to be in
            every split.
    """
    _check(images, labels)
    _check_shares(len(labels), int(labels.max()) + 1, search_share, test_share)
    everything = np.arange(len(labels))
    classes = labels.numpy()
    try:
        rest, test = train_test_split(everything, test_size=test_share, random_state=seed, stratify=classes)
        train, search = train_test_split(
            rest, test_size=search_share / (1 - test_share), random_state=seed, stratify=classes[rest]
        )
    except ValueError as error:
        raise DataError(
            f"{name} can't be split so that every class is in every split ({str(error).rstrip('.')}): change "
            "search_share and test_share, or give the rare classes more images."
        ) from error
    check_every_class([classes[rows] for rows in (train, search, test)], int(labels.max()) + 1, ())
    pixels = images.to(torch.float32)
    axes = (0, 2, 3)
    mean = pixels[train].mean(axes, keepdim=True)
    std = pixels[train].std(axes, keepdim=True)
    # A constant channel, but for rounding, becomes 0 and not noise.
    std = torch.where(std <= 1e-6 * mean.abs(), torch.ones_like(std), std)
    normalised = (pixels - mean) / std
    parts = [Split(normalised[rows], labels[rows].to(torch.int64)) for rows in (train, search, test)]
    return Splits(
        name,
        train=parts[0],
        search=parts[1],
        test=parts[2],
        num_classes=int(labels.max()) + 1,
        mean=tuple(mean.flatten().tolist()),
        std=tuple(std.flatten().tolist()),
        fingerprint=_fingerprint(parts),
    )


def _check(images: Tensor, labels: Tensor) -> None:
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"images of shape {tuple(images.shape)} and labels of shape {tuple(labels.shape)} don't fit: "
            "(n, channels, height, width) and (n,) are expected."
        )
    if not torch.isfinite(images.to(torch.float32)).all():
        raise DataError("some pixels are NaN or infinite: clean the images first.")
    if labels.is_floating_point() or (len(labels) > 0 and labels.min() < 0):
        raise DataError(
            f"labels are {labels.dtype} and begin at {labels.min()}: integers from 0 are expected."
        )
    counts = torch.bincount(labels)
    rare = [number for number, count in enumerate(counts.tolist()) if count < 5]
    if len(counts) < 2:
        raise DataError("all images have one class: there is nothing to learn.")
    if rare:
        raise DataError(
            f"class {rare[0]} has {int(counts[rare[0]])} images: every class needs at least 5 to be in the "
            "train, search and test split."
        )


def _check_shares(count: int, num_classes: int, search_share: float, test_share: float) -> None:
    """Every part must be able to hold each class once."""
    parts = {"train": 1 - search_share - test_share, "search": search_share, "test": test_share}
    for name, share in parts.items():
        if not share * count >= num_classes:
            raise DataError(
                f"the {name} split would hold {share:.3g} of {count} images, fewer than the {num_classes} classes: "
                "choose search_share and test_share so that every part holds at least one image of each class."
            )


def _fingerprint(parts: list[Split]) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(repr(tuple(part.images.shape)).encode())
        hasher.update(part.images.numpy().tobytes())
        hasher.update(part.labels.numpy().tobytes())
    return hasher.hexdigest()[:16]
