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
class FoundItems:
    """What a data source found.

    Args:
        name: Name of the data set, for reports.
        train: To be split into train, and into search and test where these have no part of their own.
        test: The official test part; None if there is none.
        class_names: By label; empty where they have none.
        search: The official search part; None if there is none.
    """

    name: str
    train: Items
    test: Items | None
    class_names: tuple[str, ...] = ()
    search: Items | None = None

    @property
    def num_to_limit(self) -> int:
        """How many items there are for train and search."""
        return len(self.train.labels) + (0 if self.search is None else len(self.search.labels))


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

    def choose(self, found: FoundItems) -> list[Chosen]:
        """Return train, search and test, as positions.

        Raises:
            DataError: the classes or their numbers don't allow it.
        """
        check_classes(found)
        if self.class_cap is not None and found.train.labels.ndim == 2:
            raise DataError(
                f"class_cap is {self.class_cap} and items of {found.name} have masks of several classes: leave it out."
            )
        check_apart(found.name, found.train.groups, found.test.groups if found.test is not None else None)
        limit, search_limit = self._limits(found)
        rows = self._choose_some(found.train, limit).rows
        whole = len(rows)
        if found.test is not None:
            test = self._choose_some(found.test, self.test_limit)
        else:
            test = self._hold_out(found, rows, min(round(self.test_share * whole), self.test_limit or whole))
            rows = rows[~np.isin(rows, test.rows)]
        # A share of all items, those of the test split included, where they are all of one part.
        if found.search is not None:
            search = self._choose_some(found.search, search_limit)
        else:
            search = self._hold_out(found, rows, round(self.search_share * whole))
            rows = rows[~np.isin(rows, search.rows)]
        if self.class_cap is not None:
            rows = rows[cap_classes(found.train.labels[rows], self.class_cap, self.seed)]
        return [Chosen(found.train, rows), search, test]

    def _limits(self, found: FoundItems) -> tuple[int | None, int | None]:
        """Return how many items to take of ``found.train`` and of the official search part, in proportion."""
        if self.limit is None or found.search is None:
            return self.limit, None
        of_search = max(1, round(self.limit * len(found.search.labels) / found.num_to_limit))
        return self.limit - of_search, of_search

    def _choose_some(self, items: Items, limit: int | None) -> Chosen:
        rows = np.arange(len(items.labels))
        return Chosen(items, choose_stratified(rows, items.labels, limit, self.seed))

    def _hold_out(self, found: FoundItems, rows: IntArray, count: int) -> Chosen:
        """Return about ``count`` of some rows, every class in proportion; whole groups where there are such."""
        items = found.train
        if items.groups is None:
            return Chosen(items, choose_stratified(rows, items.labels, count, self.seed))
        held_out = hold_out_groups(items.labels[rows], items.groups[rows], count / len(rows), self.seed)
        return Chosen(items, rows[held_out])

    def name(self, found: FoundItems) -> str:
        """Return the data set's name, with the limits where they leave something out."""
        name, available = found.name, found.num_to_limit
        if self.limit is not None and self.limit < available:
            name += f", {self.limit:,} of {available:,}"
        if (
            self.test_limit is not None
            and found.test is not None
            and self.test_limit < len(found.test.labels)
        ):
            name += f", {self.test_limit:,} of {len(found.test.labels):,} to test"
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


def check_classes(found: FoundItems) -> int:
    """Return the number of classes.

    Raises:
        DataError: there is one class only, a class is too rare, or the parts have different ones.
    """
    needed = 1 + (found.search is None) + (found.test is None)
    if found.train.labels.ndim == 2:
        return count_held(found.name, found.train.labels, needed, found.class_names)
    num_classes = count_classes(found.name, found.train.labels, needed, found.class_names)
    for what, official in (("test", found.test), ("search", found.search)):
        labels = official.labels if official is not None else found.train.labels
        strange = labels[(labels < 0) | (labels >= num_classes)]
        if len(strange):
            raise DataError(
                f"the {what} part of {found.name} has the label {strange[0]} and the training part only labels from 0 "
                f"to {num_classes - 1}: both must have the same classes."
            )
    return num_classes
