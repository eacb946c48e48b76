from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import nas.testing
from nas.errors import SpaceError
from nas.testing import BrokenPromisesError, Contract, Promise


def refuse() -> None:
    raise SpaceError("no such choice")


def lie() -> None:
    raise AssertionError("2 and 2 are 5")


def keep() -> None:
    pass


@Contract
def check_part(*checks: str) -> Sequence[Promise]:
    """Check a part that keeps and breaks what it is told to."""
    assert checks, "a part without checks is none"
    known = {"refuse": refuse, "lie": lie, "keep": keep}
    return [Promise(f"it can {name}", known[name]) for name in checks]


def test_one_broken_promise_does_not_hide_the_next() -> None:
    with pytest.raises(BrokenPromisesError) as told:
        check_part("refuse", "keep", "lie")
    assert str(told.value) == (
        "2 of 3 promises are broken:\n- it can refuse: SpaceError: no such choice\n- it can lie: 2 and 2 are 5"
    )
    assert [type(error) for error in told.value.exceptions] == [SpaceError, AssertionError]


def test_a_broken_promise_is_an_assertion_that_fails() -> None:
    with pytest.raises(AssertionError, match="1 of 1 promises are broken"):
        check_part("lie")


def test_a_part_that_keeps_all_promises_passes() -> None:
    check_part("keep", "keep")


def test_a_part_of_another_kind_is_told_before_any_promise() -> None:
    with pytest.raises(AssertionError, match="a part without checks is none"):
        check_part.promises()


@pytest.mark.parametrize("promise", check_part.promises("keep", "keep"), ids=str)
def test_promises_are_cases_of_a_test(promise: Promise) -> None:
    promise()
    assert str(promise) == "it can keep"


def test_every_contract_is_in_the_reference_and_on_the_page_on_extending() -> None:
    docs = Path(__file__).parents[3] / "docs"
    pages = [(docs / page).read_text() for page in ("reference/testing.md", "extending.md")]
    for name in nas.testing.__all__:
        if isinstance(getattr(nas.testing, name), Contract):
            assert all(name in page for page in pages), name


def test_a_contract_says_what_it_is_for() -> None:
    assert check_part.__doc__ == "Check a part that keeps and breaks what it is told to."
