"""Which items go into train, search and test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas.data.items import Items
from nas.data.selection import FoundItems, Selection, choose_stratified
from nas.errors import DataError, StudyError
from nas.space import IntArray

ALL: dict[str, Any] = {"limit": None, "test_limit": None, "search_share": 0.2, "test_share": 0.2, "seed": 0}


def items(labels: IntArray, groups: IntArray | None = None) -> Items:
    named = None if groups is None else groups.astype(np.str_)
    return Items(labels, read=lambda row: row, name=str, groups=named)


def balanced(count: int, classes: int = 2) -> IntArray:
    return np.arange(count) % classes


def chosen(parts: FoundItems, **changes: Any) -> list[IntArray]:
    """Return the rows of train, search and test."""
    return [part.rows for part in Selection(**{**ALL, **changes}).choose(parts)]


def one_part(count: int = 100, classes: int = 2) -> FoundItems:
    return FoundItems("mine", items(balanced(count, classes)), None)


@pytest.mark.parametrize("classes", [2, 5])
def test_every_item_of_one_part_is_in_one_split_and_every_class_in_proportion(classes: int) -> None:
    parts = one_part(classes=classes)
    splits = chosen(parts)
    assert [len(rows) for rows in splits] == [60, 20, 20]
    assert sorted(np.concatenate(splits).tolist()) == list(range(100))
    for rows in splits:
        assert np.bincount(parts.train.labels[rows]).tolist() == [len(rows) // classes] * classes


def test_the_seed_alone_decides_which() -> None:
    first, again, other = (chosen(one_part(), seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_limit_is_of_train_and_search_and_one_of_test_of_the_test_part() -> None:
    official = FoundItems("mine", items(balanced(100)), items(balanced(50)))
    splits = chosen(official, limit=40, test_limit=10)
    assert [len(rows) for rows in splits] == [32, 8, 10]
    assert [len(rows) for rows in chosen(one_part(), limit=50, test_limit=4)] == [36, 10, 4]


def test_an_official_search_part_has_its_share_of_the_limit() -> None:
    parts = FoundItems("mine", items(balanced(300)), items(balanced(50)), search=items(balanced(100)))
    assert [len(rows) for rows in chosen(parts)] == [300, 100, 50]
    assert [len(rows) for rows in chosen(parts, limit=40)] == [30, 10, 50]


def test_whole_groups_are_held_out() -> None:
    groups = np.arange(100) // 5
    splits = chosen(FoundItems("mine", items(balanced(100), groups), None))
    held = [set(groups[rows].tolist()) for rows in splits]
    assert all(held)
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]


def test_a_cap_holds_for_each_class_of_the_training_items_alone() -> None:
    labels = np.repeat([0, 1], [80, 20])
    splits = chosen(FoundItems("mine", items(labels), None), class_cap=15)
    assert np.bincount(labels[splits[0]]).tolist() == [15, 12]
    assert [len(rows) for rows in splits[1:]] == [20, 20]


def test_a_cap_on_masks_of_several_classes_is_refused() -> None:
    holds = np.ones((30, 2), dtype=np.int64)
    with pytest.raises(DataError, match="class_cap is 5 and items of mine have masks"):
        chosen(FoundItems("mine", items(holds), None), class_cap=5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"search_share": 0.0}, DataError, "search_share is 0.0: a share between 0 and 1"),
        ({"test_share": 1.0}, DataError, "test_share is 1.0: a share between 0 and 1"),
        ({"test_share": float("nan")}, DataError, "test_share is nan"),
        ({"search_share": 0.5, "test_share": 0.5}, DataError, "leave nothing to train on"),
        ({"search_share": "0.2"}, StudyError, "search_share='0.2': a number"),
        ({"limit": 0}, DataError, "limit is 0: a positive number"),
        ({"test_limit": -1}, DataError, "test_limit is -1"),
        ({"class_cap": 0}, DataError, "class_cap is 0"),
        ({"limit": 1.5}, StudyError, "limit=1.5: an integer or None"),
        ({"seed": -1}, DataError, "seed is -1: an integer from 0 to 4294967295"),
        ({"seed": 2**32}, DataError, "seed is 4294967296"),
    ],
)
def test_settings_out_of_range_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Selection(**{**ALL, **changes})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (FoundItems("mine", items(np.zeros(9, dtype=np.int64)), None), "one class"),
        (FoundItems("mine", items(np.array([0] * 9 + [1] * 2)), None), "every class needs at least 3"),
        (
            FoundItems("mine", items(balanced(9)), items(np.array([0, 1, 2]))),
            "the test part of mine has the label 2 and the training part only labels from 0 to 1",
        ),
        (
            FoundItems("mine", items(balanced(9)), None, search=items(np.array([0, 1, -1]))),
            "the search part of mine has the label -1",
        ),
    ],
)
def test_classes_that_can_not_be_in_every_part_are_told(parts: FoundItems, message: str) -> None:
    with pytest.raises(DataError, match=message):
        chosen(parts)


def test_too_few_to_hold_every_class_is_a_sentence() -> None:
    with pytest.raises(
        DataError, match="2 of 30 items can't be chosen so that every class is among"
    ) as caught:
        choose_stratified(np.arange(30), balanced(30, classes=3), 2, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [None, 30, 31])
def test_as_many_as_there_are_or_more_are_all(count: int | None) -> None:
    rows = np.arange(30)[::-1]
    assert choose_stratified(rows, balanced(30), count, 0) is rows


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "mine"),
        ({"limit": 1200, "test_limit": 50}, "mine"),  # which leave nothing out
        ({"limit": 40}, "mine, 40 of 1,200"),
        ({"limit": 40, "test_limit": 10}, "mine, 40 of 1,200, 10 of 50 to test"),
        ({"class_cap": 2000}, "mine, at most 2,000 of a class to train"),
    ],
)
def test_a_name_says_what_was_left_out(changes: dict[str, Any], name: str) -> None:
    parts = FoundItems("mine", items(balanced(1000)), items(balanced(50)), search=items(balanced(200)))
    assert Selection(**{**ALL, **changes}).name(parts) == name
