"""One data set into train, search and test: stratified, seeded, fingerprinted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from nas.checks import check_kind
from nas.data.classes import check_every_class, count_classes
from nas.data.groups import Groups, as_groups, cap_classes, tell_groups, three_shares_of_groups
from nas.data.selection import check_limit, check_seed, check_shares
from nas.data.stratify import three_shares
from nas.errors import DataError
from nas.inputs import as_tuple
from nas.space import IntArray
from nas.splits import Split, Splits
from nas.tasks import Classification

_NEEDED = 5
"""Images of each class that let it be in all three parts at the usual shares."""


def split_images(
    name: str,
    images: Tensor,
    labels: Tensor,
    *,
    search_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
    groups: Sequence[object] | None = None,
    class_cap: int | None = None,
) -> Splits:
    """Split labelled images into train, search and test, and normalise them with train's statistics.

    Args:
        name: Name of the data set, for reports.
        images: ``(n, channels, height, width)``, any real dtype.
        labels: ``(n,)`` integers; every class from 0 to the largest label must occur.
        search_share: Part of all images that candidates are evaluated on.
        test_share: Part of all images that is kept for the winners.
        seed: Seed of the split.
        groups: For each image a number or a name, such as the patient's: those of one group go into one split. None
            where all are by themselves.
        class_cap: How many images of a class the train split holds at most, drawn at random; None for all.

    Returns:
        Splits in which every class has about its share of the whole.

    Raises:
        DataError: shapes or kinds don't fit, a value is not finite, or a class has too few images to be in
            every split.
        StudyError: an argument is of another kind.
    """
    check_kind("split_images", "name", name, str, "a string")
    check_shares(search_share, test_share)
    check_seed(seed)
    check_limit("class_cap", class_cap)
    _check(images, labels)
    images, classes = images.detach(), labels.to(torch.int64).numpy()
    num_classes = count_classes(name, classes, _NEEDED)
    _check_parts(len(labels), num_classes, search_share, test_share)
    named = None if groups is None else as_groups(groups, len(labels))
    rows = _rows_of_parts(name, classes, named, search_share, test_share, seed)
    if class_cap is not None:
        rows[0] = rows[0][cap_classes(classes[rows[0]], class_cap, seed)]
    check_every_class([classes[part] for part in rows], num_classes, ())
    pixels = images.to(torch.float32)
    axes = (0, 2, 3)
    mean = pixels[rows[0]].mean(axes, keepdim=True)
    std = pixels[rows[0]].std(axes, keepdim=True)
    # A constant channel, but for rounding, becomes 0 and not noise.
    std = torch.where(std <= 1e-6 * mean.abs(), torch.ones_like(std), std)
    normalised = (pixels - mean) / std
    parts = [Split(normalised[part], labels[part].to(torch.int64)) for part in rows]
    return Splits(
        name,
        train=parts[0],
        search=parts[1],
        test=parts[2],
        task=Classification(num_classes),
        mean=tuple(mean.flatten().tolist()),
        std=tuple(std.flatten().tolist()),
        fingerprint=_fingerprint(parts),
        notes=() if named is None else tell_groups([named[part] for part in rows]),
    )


def _rows_of_parts(
    name: str, classes: IntArray, groups: Groups | None, search_share: float, test_share: float, seed: int
) -> list[IntArray]:
    if groups is not None:
        return three_shares_of_groups(classes, groups, search_share, test_share, seed)
    try:
        return three_shares(classes, search_share, test_share, seed)
    except ValueError as error:
        raise DataError(
            f"{name} can't be split so that every class is in every split ({str(error).rstrip('.')}): change "
            "search_share and test_share, or give the rare classes more images."
        ) from error


def _check(images: Tensor, labels: Tensor) -> None:
    for what, value in (("images", images), ("labels", labels)):
        wanted = f"a tensor, such as torch.from_numpy({what}) makes of an array,"
        check_kind("split_images", what, value, Tensor, wanted)
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"images of shape {tuple(images.shape)} and labels of shape {tuple(labels.shape)} don't fit: "
            "(n, channels, height, width) and (n,) are expected; masks, and targets of any other task, are for "
            "nas.data.split_tensors, which takes the task too."
        )
    if images.is_complex() or not torch.isfinite(images.to(torch.float32)).all():
        raise DataError("some pixels are complex, NaN or infinite: clean the images first.")
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"labels are {labels.dtype}: integers from 0 are expected; labels.long() makes them of what it can."
        )


def _check_parts(count: int, num_classes: int, search_share: float, test_share: float) -> None:
    """Refuse parts that can't hold each class once."""
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
        for tensor in as_tuple(part.inputs):
            hasher.update(repr(tuple(tensor.shape)).encode())
            hasher.update(tensor.numpy().tobytes())
        hasher.update(part.targets.numpy().tobytes())
    return hasher.hexdigest()[:16]
