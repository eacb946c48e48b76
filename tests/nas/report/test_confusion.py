from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from nas.report.confusion import commonest_confusions, confusion_png, confusion_table

COUNTS = [[8, 2, 0], [0, 5, 5], [0, 0, 0]]
NAMES = ("cat", "dog", "a|b")


def test_the_table_has_true_classes_in_rows_and_shares_of_right_answers() -> None:
    table = confusion_table(COUNTS, NAMES)
    assert table is not None
    assert table.head == ["is / taken for", "cat", "dog", "a|b", "right"]
    assert table.rows == [
        ["cat", "8", "2", "0", "80.0%"],
        ["dog", "0", "5", "5", "50.0%"],
        ["a|b", "0", "0", "0", "–"],
    ]
    assert "a\\|b" in table.markdown()


def test_classes_without_names_are_numbered_and_many_have_no_table() -> None:
    table = confusion_table([[1, 0], [0, 1]], ())
    assert table is not None
    assert [row[0] for row in table.rows] == ["0", "1"]
    assert confusion_table(np.eye(21, dtype=int).tolist(), ()) is None


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (COUNTS, "Most often it takes dog for a|b (5 of 10), cat for dog (2 of 10)."),
        ([[3, 0], [0, 4]], "It takes no class for another."),
    ],
)
def test_the_commonest_mistakes_are_told_in_words(counts: list[list[int]], said: str) -> None:
    assert commonest_confusions(counts, NAMES[: len(counts)]) == said


@pytest.mark.draws
@pytest.mark.parametrize("count", [2, 10, 100])
def test_search_and_test_are_drawn_beside_each_other(count: int) -> None:
    counts = np.eye(count, dtype=int).tolist()
    names = tuple(f"class $_{number}" for number in range(count))
    picture = Image.open(io.BytesIO(confusion_png({"search": counts, "test": counts}, names)))
    assert picture.width > 1.5 * picture.height
