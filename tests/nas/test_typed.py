from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from nas.objective import Measurement, Objective
from nas.typed import MismatchError, read_as


@dataclass(frozen=True)
class Row:
    name: str
    values: list[float]
    best: Measurement | None = None
    option: int | float | str | bool = 0
    pair: tuple[str, tuple[int, ...]] = ("", ())
    direction: Literal["up", "down"] = "up"
    more: Any = None
    by_name: Mapping[str, int] = ()  # type: ignore[assignment]


MEASURED = {"value": 1, "spread": 0.5, "unit": "ms", "device": "", "repeats": 3}


def test_plain_values_become_what_they_are_meant_to_be() -> None:
    given = {"name": "a", "values": [1, 2.5], "best": MEASURED, "pair": ["b", [1, 2]], "by_name": {"c": 1}}
    row = read_as(Row, {**given, "of a later version": 1, "more": [None]})
    assert row == Row(
        "a", [1.0, 2.5], Measurement(1, 0.5, "ms", "", 3), 0, ("b", (1, 2)), "up", [None], {"c": 1}
    )
    assert type(row.values[0]) is float


@pytest.mark.parametrize("option", [1, 1.0, "1", True])
def test_an_option_keeps_its_type(option: object) -> None:
    found = read_as(Row, {"name": "a", "values": [], "option": option}).option
    assert (type(found), found) == (type(option), option)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": None}, "name is null, text is expected"),
        ({"name": 1}, "name is 1, text is expected"),
        ({"values": {}}, "values is an object, a list is expected"),
        ({"values": [1.0, "x"]}, r"values\[1\] is 'x', a finite number is expected"),
        ({"values": [True]}, r"values\[0\] is True, a finite number is expected"),
        ({"values": [float("nan")]}, r"values\[0\] is nan"),
        ({"values": [10**400]}, r"values\[0\] is 1000"),
        ({"best": []}, "best is a list, an object is expected"),
        ({"best": {**MEASURED, "repeats": 1.5}}, r"best\.repeats is 1\.5, a whole number is expected"),
        ({"best": {"value": 1}}, "best lacks 'spread'"),
        ({"option": None}, "option is null, a whole number or a finite number or text or true or false"),
        ({"pair": ["a"]}, "pair is a list, a list of 2 is expected"),
        ({"pair": ["a", [None]]}, r"pair\[1\]\[0\] is null"),
        ({"direction": "left"}, "direction is 'left', 'up' or 'down' is expected"),
        ({"by_name": {"c": "x"}}, r"by_name\.c is 'x'"),
        ({"by_name": []}, "by_name is a list, an object is expected"),
    ],
)
def test_what_is_something_else_is_told_with_its_place(changes: dict[str, object], what: str) -> None:
    with pytest.raises(MismatchError, match=what):
        read_as(Row, {"name": "a", "values": [], **changes})


@pytest.mark.parametrize("value", [None, [], "text", 1, True, {}])
def test_the_whole_may_be_something_else(value: object) -> None:
    with pytest.raises(MismatchError, match=r"^it (is|lacks)"):
        read_as(Row, value)


def test_what_a_dataclass_refuses_is_a_mismatch() -> None:
    with pytest.raises(MismatchError, match=r"^\[0\] is not valid: an objective needs a name"):
        read_as(list[Objective], [{"name": "", "unit": "", "direction": "minimize"}])
