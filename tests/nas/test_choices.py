from __future__ import annotations

import enum
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nas.choices import Choice, Expression, Option, choice, choices_of, largest_value, smaller
from nas.errors import NasError, SpaceError


def test_a_choice_without_options_is_refused() -> None:
    with pytest.raises(SpaceError, match="'width' has no options"):
        choice("width")


@pytest.mark.parametrize(
    "options", [(1, 1), (1, True), (0, False), (1, 1.0), (2.5, 2.5), ("a", "a"), (3, 5, 3)]
)
def test_equal_options_are_refused(options: tuple[object, ...]) -> None:
    with pytest.raises(SpaceError, match="more than once"):
        Choice("width", options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_choice_needs_a_name(name: object) -> None:
    with pytest.raises(SpaceError, match="name"):
        Choice(name, (1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("option", [None, (1, 2), [1], object(), math.nan, math.inf])
def test_only_finite_plain_values_are_options(option: object) -> None:
    with pytest.raises(SpaceError):
        Choice("width", (1, option))  # type: ignore[arg-type]


class Act(enum.StrEnum):
    RELU = "relu"
    GELU = "gelu"


class Mixed(str, enum.Enum):  # noqa: UP042  # as many write it
    A = "a"
    B = "b"


class Size(enum.IntEnum):
    SMALL = 8
    LARGE = 16


class Rate(float): ...


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        (tuple(Act), ("relu", "gelu")),
        (tuple(Mixed), ("a", "b")),
        (tuple(Size), (8, 16)),
        ((Rate(0.5), True), (0.5, True)),
    ],
)
def test_options_are_kept_as_plain_values(options: tuple[Option, ...], plain: tuple[Option, ...]) -> None:
    found = Choice("of", options)
    assert found.options == plain
    assert [type(option) for option in found.options] == [type(option) for option in plain]
    assert [found.index(option) for option in plain] == [0, 1]


def test_a_member_of_an_enumeration_finds_its_option() -> None:
    assert Choice("act", tuple(Act)).index(Act.GELU) == 1
    with pytest.raises(SpaceError, match="no option"):
        Choice("act", ("relu", "silu")).index(Act.GELU)


def test_expressions_compute_on_options() -> None:
    width, ratio = choice("width", 8, 16), choice("ratio", 2, 3)
    options = {"width": 16, "ratio": 3}
    cases: list[tuple[Expression, int]] = [
        (width * ratio, 48),
        (width * 4, 64),
        (4 * width, 64),
        (width + ratio, 19),
        (1 + width, 17),
        (width // ratio, 5),
        ((width + 8) * ratio // 2, 36),
        (width - ratio, 13),
        (width - 1, 15),
        (20 - width, 4),
        (48 // width, 3),
        (smaller(width, 10) * ratio, 30),
        (smaller(ratio + 1, width), 4),
        (np.int64(2) * width + np.int64(1), 33),
    ]
    for expression, expected in cases:
        assert expression.value(options) == expected, expression
    assert smaller(3, 2) == 2
    assert (width * ratio).choices == (width, ratio)
    assert choices_of(width, 3, ratio * width) == (width, ratio)
    assert sorted((width * ratio).values()) == [16, 24, 32, 48]  # type: ignore[type-var]
    assert largest_value((width + 8) * ratio) == 72


@pytest.mark.parametrize("wrong", ["a", 0.5])
def test_arithmetic_needs_integers(wrong: object) -> None:
    with pytest.raises(SpaceError, match="needs integers"):
        largest_value(choice("width", 1, wrong) * 2)  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="needs integers"):
        largest_value(choice("width", 1, 2) * wrong)  # type: ignore[operator]


@pytest.mark.parametrize("options", [(0, 1), (-1, 4), (1, 2.5), ("3", 4), (True, 2)])
def test_a_size_is_a_positive_integer(options: tuple[object, ...]) -> None:
    with pytest.raises(SpaceError, match="positive integer"):
        largest_value(Choice("width", options))  # type: ignore[arg-type]


def test_division_by_an_option_of_zero_is_a_sentence() -> None:
    with pytest.raises(NasError):
        largest_value(choice("width", 8, 16) // choice("groups", 0, 2))


def test_a_choice_has_no_value_before_the_supernet() -> None:
    with pytest.raises(SpaceError, match=r"wrap the whole module in nas\.Supernet"):
        range(choice("depth", 1, 2))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "use",
    [
        lambda w: w / 2,
        lambda w: 16 / w,
        lambda w: w % 3,
        lambda w: w**2,
        lambda w: 2**w,
        lambda w: divmod(w, 3),
        lambda w: -w,
        lambda w: abs(w),
        lambda w: 4 if w > 4 else 8,
        lambda w: max(w, 4),
        lambda w: 4 if w else 8,
        lambda w: int(w * 2),
        lambda w: float(w),
        lambda w: round(w),
        lambda w: math.ceil(w),
        lambda w: math.sqrt(w),
        lambda w: w * 0.5,
        lambda w: w + None,
        lambda w: w * [1],
        lambda w: torch.ones(1) + w,
    ],
)
def test_what_a_choice_can_not_do_is_a_sentence(use: Callable[[Choice], object]) -> None:
    with pytest.raises(SpaceError, match=r"has no value yet|needs integers") as caught:
        use(choice("width", 4, 8))
    assert "\n" not in str(caught.value)


def test_a_difference_is_a_size_as_long_as_it_is_positive() -> None:
    width = choice("width", 4, 8)
    assert sorted((width * 2 - width).values()) == [4, 8]  # type: ignore[type-var]
    with pytest.raises(SpaceError, match=r"\(choice 'width' - 4\) can be 0"):
        largest_value(width - 4)


def test_the_sum_of_two_hundred_widths_is_listed() -> None:
    widths = [choice(f"w{number}", 4, 8, 16) for number in range(200)]
    total = sum(widths[1:], start=widths[0] + 0)
    assert largest_value(total) == 3200
    assert min(total.values()) == 800  # type: ignore[type-var]


def test_too_many_combinations_are_a_sentence() -> None:
    widths = [choice(f"w{number}", 4, 8, 16) for number in range(20)]
    total = sum(widths[1:], start=widths[0] + 0)
    with pytest.raises(SpaceError, match="20 choices more than once"):
        largest_value(total * total)


def test_a_choice_of_too_many_options_is_refused() -> None:
    assert len(choice("width", *range(1_000)).options) == 1_000
    with pytest.raises(SpaceError, match="100,000 options and at most 1,000"):
        choice("width", *range(100_000))


@pytest.mark.parametrize("make", [lambda: choice("\ud800", 1, 2), lambda: choice("act", "relu", "\udcff")])
def test_text_that_no_file_can_hold_is_refused(make: Callable[[], Choice]) -> None:
    with pytest.raises(SpaceError, match="UTF-8"):
        make()
