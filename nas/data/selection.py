"""Which items go into train, search and test: stratified, seeded, checked."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import final

import numpy as np
from sklearn.model_selection import train_test_split

from nas.checks import check_kind
from nas.data.classes import count_classes, count_held
from nas.data.groups import cap_classes, check_apart, hold_out_groups
from nas.data.items import Chosen, Items
from nas.data.stratify import share_out
from nas.errors import DataError
from nas.space import IntArray

_SEEDS = 2**32
"""How many there are for scikit-learn."""


@final
@dataclass(frozen=True)
class Parts:
    """What a data source found.

    Args:
        name: Name of the data set, for reports.
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
    class_cap: int | None = None

    def __post_init__(self) -> None:
        check_shares(self.search_share, self.test_share)
        for name in ("limit", "test_limit", "class_cap"):
            check_limit(name, getattr(self, name))
        check_seed(self.seed)

    def choose(self, parts: Parts) -> list[Chosen]:
        """Return train, search and test, as positions.

        Raises:
            DataError: the classes or their numbers don't allow it.
        """
        check_classes(parts)
        if self.class_cap is not None and parts.train.labels.ndim == 2:
            raise DataError(
                f"class_cap is {self.class_cap} and items of {parts.name} have masks of several classes: leave it out."
            )
        rows = choose_stratified(
            np.arange(len(parts.train.labels)), parts.train.labels, self.limit, self.seed
        )
        if parts.test is not None:
            check_apart(parts.name, parts.train.groups, parts.test.groups)
            test = Chosen(
                parts.test,
                choose_stratified(
                    np.arange(len(parts.test.labels)), parts.test.labels, self.test_limit, self.seed
                ),
            )
        else:
            count = min(round(self.test_share * len(rows)), self.test_limit or len(rows))
            kept = _hold_out(parts.train, rows, count, self.seed)
            test = Chosen(parts.train, kept)
            rows = rows[~np.isin(rows, kept)]
        # The search split is a share of all items, those of the test split included, where they are all of one part.
        whole = len(rows) + (0 if parts.test is not None else len(test.rows))
        search = _hold_out(parts.train, rows, round(self.search_share * whole), self.seed)
        train = rows[~np.isin(rows, search)]
        if self.class_cap is not None:
            train = train[cap_classes(parts.train.labels[train], self.class_cap, self.seed)]
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
        if self.class_cap is not None:
            name += f", at most {self.class_cap:,} of a class to train"
        return name


def check_shares(search_share: float, test_share: float) -> None:
    """Check which parts of the data are asked for.

    Raises:
        DataError: one is out of range, or they leave nothing to train on.
        StudyError: one is no number.
    """
    for name, share in (("search_share", search_share), ("test_share", test_share)):
        check_kind("the data source", name, share, Real, "a number")
        if not 0 < share < 1:
            raise DataError(f"{name} is {share}: a share between 0 and 1 is expected.")
    if search_share + test_share >= 1:
        raise DataError(
            f"search_share {search_share} and test_share {test_share} leave nothing to train on: "
            "choose them so that their sum is below 1."
        )


def check_limit(name: str, limit: int | None) -> None:
    """Check how many items are asked for.

    Raises:
        DataError: fewer than one.
        StudyError: it is no integer.
    """
    check_kind("the data source", name, limit, Integral | None, "an integer or None")
    if limit is not None and limit < 1:
        raise DataError(f"{name} is {limit}: a positive number, or None for all, is expected.")


def check_seed(seed: int) -> None:
    """Check the seed of a random choice of items.

    Raises:
        DataError: it is out of range.
        StudyError: it is no integer.
    """
    check_kind("the data source", "seed", seed, Integral, "an integer")
    if not 0 <= seed < _SEEDS:
        raise DataError(f"seed is {seed}: an integer from 0 to {_SEEDS - 1} is expected.")


def _hold_out(items: Items, rows: IntArray, count: int, seed: int) -> IntArray:
    """Return about ``count`` of ``rows``, every class in proportion; whole groups where there are such."""
    if items.groups is None:
        return choose_stratified(rows, items.labels, count, seed)
    return rows[hold_out_groups(items.labels[rows], items.groups[rows], count / len(rows), seed)]


def choose_stratified(rows: IntArray, labels: IntArray, count: int | None, seed: int) -> IntArray:
    """Return ``count`` of ``rows``, every class in proportion; all of them where there are no more."""
    if count is None or count >= len(rows):
        return rows
    if labels.ndim == 2:
        return np.asarray(rows[share_out(labels[rows], (count, len(rows) - count), seed) == 0])
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
    needed = 2 if parts.test is not None else 3
    if parts.train.labels.ndim == 2:
        return count_held(parts.name, parts.train.labels, needed, parts.class_names)
    num_classes = count_classes(parts.name, parts.train.labels, needed, parts.class_names)
    test = parts.train.labels if parts.test is None else parts.test.labels
    strange = test[(test < 0) | (test >= num_classes)]
    if len(strange):
        raise DataError(
            f"the test part of {parts.name} has the label {strange[0]} and the training part only labels from 0 to "
            f"{num_classes - 1}: both must have the same classes."
        )
    return num_classes
