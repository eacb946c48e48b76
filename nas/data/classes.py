"""Which classes labels are of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nas.errors import DataError
from nas.space import FloatArray, IntArray

_ROWS = 64
"""Masks that are counted at a time, as 64-bit numbers."""


def count_classes(name: str, labels: IntArray, needed: int, class_names: tuple[str, ...] = ()) -> int:
    """Return the number of classes of ``(n,)`` labels.

    Args:
        name: Name of the data set, for messages.
        labels: Classes from 0, without gaps.
        needed: Items that every class must have.
        class_names: By label; empty where they have none.

    Raises:
        DataError: they are something else, of one class, or too few.
    """
    if len(labels) == 0:
        raise DataError(f"{name} holds no items: check that the path is right.")
    if labels.min() < 0:
        raise DataError(f"{name} has the label {labels.min()}: integers from 0 are expected.")
    known, counts = np.unique(labels, return_counts=True)
    if len(known) < 2:
        raise DataError(f"all items of {name} have one class: there is nothing to learn.")
    gaps = np.flatnonzero(known != np.arange(len(known)))
    rare = gaps if len(gaps) else np.flatnonzero(counts < needed)
    if len(rare):
        count = 0 if len(gaps) else counts[rare[0]]
        raise DataError(
            f"class {_label_text(int(rare[0]), class_names)} of {name}, whose labels go up to {known[-1]}, has {count} "
            f"items: every class needs at least {needed} to be in every part."
        )
    return len(known)


def count_held(name: str, holds: IntArray, needed: int, class_names: tuple[str, ...] = ()) -> int:
    """Return the number of classes that the masks of ``(n, num_classes)`` items hold.

    Args:
        name: Name of the data set, for messages.
        holds: 1 where an item's mask holds a class, 0 elsewhere.
        needed: Items that must hold each class.
        class_names: By number; empty where they have none.

    Raises:
        DataError: there is one class only, or too few items hold one.
    """
    counts = holds.sum(0)
    if len(counts) < 2:
        raise DataError(f"all pixels of {name} have one class: there is nothing to learn.")
    rare = np.flatnonzero(counts < needed)
    if len(rare):
        others = "" if len(rare) == 1 else f", and {len(rare) - 1} other classes are as rare"
        raise DataError(
            f"class {_label_text(int(rare[0]), class_names)} is in {counts[rare[0]]} of {len(holds)} masks "
            f"of {name}{others}: at least {needed} are needed, for every class to be in every part; add masks, or say "
            "with classes= and values= what the values stand for, None for what is to be ignored."
        )
    return len(counts)


def check_every_class(labels: Sequence[IntArray], num_classes: int, class_names: tuple[str, ...]) -> None:
    """Check that train, search and test have every class.

    Raises:
        DataError: one lacks a class; says which.
    """
    for part, found in zip(("train", "search", "test"), labels, strict=True):
        counts = found.sum(0) if found.ndim == 2 else np.bincount(found, minlength=num_classes)
        missing = np.flatnonzero(counts == 0)
        if len(missing):
            raise DataError(
                f"the {part} split has no item of class {_label_text(int(missing[0]), class_names)} (missing classes: "
                f"{len(missing)}): add items of it, or choose limit and the shares so that each split gets some."
            )


def _label_text(label: int, class_names: tuple[str, ...]) -> str:
    return f"{label} ({class_names[label]!r})" if label < len(class_names) else str(label)


def class_shares(targets: Tensor, num_classes: int) -> FloatArray:
    """Return ``(num_classes,)`` which share each class has of the positions that are of any."""
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for chunk in targets.split(_ROWS):
        # Bytes can be counted as they are, which takes a thirtieth of the time.
        known = chunk if chunk.dtype == torch.uint8 else chunk[(chunk >= 0) & (chunk < num_classes)].long()
        counts += torch.bincount(known.flatten(), minlength=num_classes)[:num_classes]
    return np.asarray(counts.numpy() / max(1, int(counts.sum())), dtype=np.float64)


def tell_shares(part: str, targets: Tensor, num_classes: int, class_names: tuple[str, ...]) -> str:
    """Return how often each class occurs in a part, as a clause for people."""
    names = class_names or tuple(map(str, range(num_classes)))
    shares = zip(names, class_shares(targets, num_classes), strict=True)
    return f"{part}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares)
