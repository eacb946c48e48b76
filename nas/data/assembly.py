"""Splits made of decoded values and their targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nas.data.classes import check_every_class, tell_shares
from nas.data.fingerprint import fingerprint
from nas.errors import DataError
from nas.space import IntArray
from nas.splits import Split, Splits
from nas.task import Task
from nas.tasks import Classification, SemanticSegmentation
from nas.tasks.segmentation import find_ignored

_ROWS = 1024
_VALUES = 2**22
"""Items, and numbers, that are read at a time; the numbers are 32 MB as float64, however large images are."""


def split_values(
    name: str,
    values: Tensor,
    labels: Sequence[IntArray],
    *,
    num_classes: int,
    class_names: tuple[str, ...] = (),
    vocabulary: tuple[str, ...] = (),
    mapped: bool = False,
    official_test: bool = False,
    notes: tuple[str, ...] = (),
) -> Splits:
    """Return the splits for classification of ``values``, which holds train, search and test one after the other.

    Raises:
        DataError: as :func:`assemble_splits`, or a split lacks a class.
    """
    check_every_class(labels, num_classes, class_names)
    return assemble_splits(
        name,
        values,
        [torch.from_numpy(found) for found in labels],
        Classification(num_classes, class_names),
        vocabulary=vocabulary,
        input_names=("token_ids",) if vocabulary else ("images",),
        mapped=mapped,
        official_test=official_test,
        notes=notes,
    )


def assemble_splits(
    name: str,
    values: Tensor,
    targets: Sequence[Tensor],
    task: Task,
    *,
    vocabulary: tuple[str, ...] = (),
    input_names: tuple[str, ...] = ("images",),
    mapped: bool = False,
    official_test: bool = False,
    official_search: bool = False,
    notes: tuple[str, ...] = (),
) -> Splits:
    """Return the splits of ``values``, which holds train, search and test one after the other, with their targets.

    Images are normalised per channel with the statistics of train.

    Raises:
        DataError: a value is not finite, or most items of an official part are in another split too.
    """
    if values.is_floating_point() and not all(bool(chunk.isfinite().all()) for chunk in values.split(_ROWS)):
        raise DataError(f"some values of {name} are NaN or infinite: clean the data first.")
    mean, std = statistics(values[: len(targets[0])]) if values.ndim == 4 else ((), ())
    ends = np.cumsum([0, *map(len, targets)]).tolist()
    splits = [
        Split(values[begin:end], found, mean, std, mapped, find_ignored(task))
        for found, begin, end in zip(targets, ends[:-1], ends[1:], strict=True)
    ]
    train, search, test = splits
    if isinstance(task, SemanticSegmentation):
        named = zip(("train", "search", "test"), targets, strict=True)
        shares = (tell_shares(part, of, task.num_classes, task.class_names) for part, of in named)
        notes = (*notes, *shares)
    return Splits(
        name,
        train=train,
        search=search,
        test=test,
        task=task,
        mean=mean,
        std=std,
        fingerprint=fingerprint(
            name, splits, official_test=official_test, official_search=official_search, vocabulary=vocabulary
        ),
        vocabulary=vocabulary,
        input_names=input_names,
        notes=notes,
    )


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of ``(n, channels, height, width)`` images.

    A constant channel has a deviation of 1, so that it becomes 0 and not noise.
    """
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = total.clone()
    for chunk in images.split(max(1, min(_ROWS, _VALUES // images[:1].numel()))):
        of_chunk = _sums_of_bytes(chunk) if chunk.dtype == torch.uint8 else _sums_of_numbers(chunk)
        total += of_chunk[0]
        squares += of_chunk[1]
    count = images.numel() / images.shape[1]
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    # Compared with the mean, because the difference of two large sums is rounded.
    constant = variance <= 1e-12 * mean.square().clamp_min(1e-12)
    std = torch.where(constant, torch.ones_like(variance), variance.sqrt())
    return tuple(mean.tolist()), tuple(std.tolist())


def _sums_of_numbers(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(channels,)`` sums of the values, and of their squares."""
    values = images.to(torch.float64)
    return values.sum((0, 2, 3)), values.square_().sum((0, 2, 3))


def _sums_of_bytes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what :func:`_sums_of_numbers` does, exact as well; to count bytes takes a quarter of the time."""
    counts = [torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]
    often = torch.stack(counts).to(torch.float64)
    values = torch.arange(256, dtype=torch.float64)
    return often @ values, often @ values.square()
