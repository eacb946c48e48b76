"""Which items go into train, search and test: stratified, seeded, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from nas.data.fingerprint import fingerprint
from nas.data.items import Chosen, Items
from nas.errors import DataError
from nas.protocols import Split, Splits
from nas.space import IntArray

_ROWS = 1024


@final
@dataclass(frozen=True)
class Parts:
    """What a data source found.

    Args:
        name: Of the data set, for reports.
        train: To be split into train and search, and test too where there is no ``test``.
        test: The official test part; None if there is none.
        class_names: By label; empty where they have none.
    """

    name: str
    train: Items
    test: Items | None
    class_names: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Selection:
    """How many items to use, and for what. See :class:`nas.data.raw.RawData` for the arguments.

    Raises:
        DataError: a number is out of range.
    """

    limit: int | None
    test_limit: int | None
    search_share: float
    test_share: float
    seed: int

    def __post_init__(self) -> None:
        for name, share in (("search_share", self.search_share), ("test_share", self.test_share)):
            if not 0 < share < 1:
                raise DataError(f"{name} is {share}: a share between 0 and 1 is expected.")
        if self.search_share + self.test_share >= 1:
            raise DataError(
                f"search_share {self.search_share} and test_share {self.test_share} leave nothing to train on: "
                "choose them so that their sum is below 1."
            )
        for name, limit in (("limit", self.limit), ("test_limit", self.test_limit)):
            if limit is not None and limit < 1:
                raise DataError(f"{name} is {limit}: a positive number, or None for all, is expected.")

    def choose(self, parts: Parts) -> list[Chosen]:
        """Return train, search and test, as positions.

        Raises:
            DataError: the classes or their numbers don't allow it.
        """
        check_classes(parts)
        rows = _stratified(np.arange(len(parts.train.labels)), parts.train.labels, self.limit, self.seed)
        if parts.test is not None:
            test = Chosen(
                parts.test,
                _stratified(np.arange(len(parts.test.labels)), parts.test.labels, self.test_limit, self.seed),
            )
        else:
            count = min(round(self.test_share * len(rows)), self.test_limit or len(rows))
            kept = _stratified(rows, parts.train.labels, count, self.seed)
            test = Chosen(parts.train, kept)
            rows = rows[~np.isin(rows, kept)]
        whole = len(rows) + (0 if parts.test is not None else len(test.rows))
        search = _stratified(rows, parts.train.labels, round(self.search_share * whole), self.seed)
        train = rows[~np.isin(rows, search)]
        return [Chosen(parts.train, train), Chosen(parts.train, search), test]

    def name(self, parts: Parts) -> str:
        """Return the data set's name, with the limits where they leave something out."""
        name, available = parts.name, len(parts.train.labels)
        if self.limit is not None and self.limit < available:
            name += f", {self.limit:,} of {available:,}"
        if (
            self.test_limit is not None
            and parts.test is not None
            and self.test_limit < len(parts.test.labels)
        ):
            name += f", {self.test_limit:,} of {len(parts.test.labels):,} to test"
        return name


def _stratified(rows: IntArray, labels: IntArray, count: int | None, seed: int) -> IntArray:
    """Return ``count`` of ``rows``, every class in proportion; all of them where there are no more."""
    if count is None or count >= len(rows):
        return rows
    try:
        chosen, _ = train_test_split(rows, train_size=count, random_state=seed, stratify=labels[rows])
    except ValueError as error:
        raise DataError(
            f"{count} of {len(rows)} items can't be chosen so that every class is among the chosen and among the "
            f"rest ({str(error).rstrip('.')}): change the limits or the shares, or give the rare classes more items."
        ) from error
    return np.sort(np.asarray(chosen, dtype=np.int64))


def check_classes(parts: Parts) -> int:
    """Return the number of classes.

    Raises:
        DataError: there is one class only, a class is too rare, or the parts have different ones.
    """
    labels = parts.train.labels
    if len(labels) == 0:
        raise DataError(f"{parts.name} holds no items: check that the path is right.")
    if labels.min() < 0:
        raise DataError(f"{parts.name} has the label {labels.min()}: integers from 0 are expected.")
    counts = np.bincount(labels)
    if len(counts) < 2:
        raise DataError(f"all items of {parts.name} have one class: there is nothing to learn.")
    needed = 2 if parts.test is not None else 3
    rare = np.flatnonzero(counts < needed)
    if len(rare):
        raise DataError(
            f"class {_called(int(rare[0]), parts.class_names)} of {parts.name} has {counts[rare[0]]} items: every "
            f"class needs at least {needed}, one for each of the parts."
        )
    if parts.test is not None and len(parts.test.labels) and parts.test.labels.max() >= len(counts):
        raise DataError(
            f"the test part of {parts.name} has the label {parts.test.labels.max()} and the training part only "
            f"labels up to {len(counts) - 1}: both must have the same classes."
        )
    return len(counts)


def check_every_class(labels: Sequence[IntArray], num_classes: int, class_names: tuple[str, ...]) -> None:
    """Check that train, search and test have every class.

    Raises:
        DataError: one lacks a class; says which.
    """
    for part, found in zip(("train", "search", "test"), labels, strict=True):
        missing = np.flatnonzero(np.bincount(found, minlength=num_classes) == 0)
        if len(missing):
            raise DataError(
                f"the {part} split has no item of class {_called(int(missing[0]), class_names)} (missing classes: "
                f"{len(missing)}): add items of it, or choose limit and the shares so that each split gets some."
            )


def _called(label: int, class_names: tuple[str, ...]) -> str:
    return f"{label} ({class_names[label]!r})" if label < len(class_names) else str(label)


def assembled(
    name: str,
    values: Tensor,
    labels: Sequence[IntArray],
    *,
    num_classes: int,
    class_names: tuple[str, ...] = (),
    vocabulary: tuple[str, ...] = (),
    mapped: bool = False,
    official_test: bool = False,
) -> Splits:
    """Return the splits of ``values``, which holds train, search and test one after the other.

    Images are normalised per channel with the statistics of train.

    Raises:
        DataError: a split lacks a class, a value is not finite, or most items of an official test part are in another
            split too.
    """
    check_every_class(labels, num_classes, class_names)
    if values.is_floating_point() and not all(bool(chunk.isfinite().all()) for chunk in values.split(_ROWS)):
        raise DataError(f"some values of {name} are NaN or infinite: clean the data first.")
    mean, std = statistics(values[: len(labels[0])]) if values.ndim == 4 else ((), ())
    ends = np.cumsum([0, *map(len, labels)]).tolist()
    splits = [
        Split(values[begin:end], torch.from_numpy(found), mean, std, mapped)
        for found, begin, end in zip(labels, ends[:-1], ends[1:], strict=True)
    ]
    train, search, test = splits
    return Splits(
        name,
        train=train,
        search=search,
        test=test,
        num_classes=num_classes,
        mean=mean,
        std=std,
        fingerprint=fingerprint(name, splits, official_test=official_test),
        class_names=class_names,
        vocabulary=vocabulary,
    )


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of ``(n, channels, height, width)`` images.

    A constant channel has a deviation of 1, so that it becomes 0 and not noise.
    """
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = total.clone()
    for chunk in images.split(_ROWS):
        values = chunk.to(torch.float64)
        total += values.sum((0, 2, 3))
        squares += values.square_().sum((0, 2, 3))
    count = images.numel() / images.shape[1]
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    constant = variance <= 1e-12 * mean.square().clamp_min(1e-12)
    std = torch.where(constant, torch.ones_like(variance), variance.sqrt())
    return tuple(mean.tolist()), tuple(std.tolist())
