from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from nas.service.limits import Attempts, source_of
from nas.service.problems import Problem


def test_an_address_waits_after_so_many_wrong_tokens() -> None:
    clock = [0.0]
    attempts = Attempts(3, 60.0, lambda: clock[0])
    for _ in range(3):
        attempts.check("a", is_right=False)
        clock[0] += 10
    with pytest.raises(Problem) as problem:
        attempts.check("a", is_right=False)
    assert problem.value.headers["Retry-After"] == "30"
    attempts.check("b", is_right=False)
    clock[0] = 60.0
    attempts.check("a", is_right=False)


def test_of_many_attempts_at_once_no_more_than_the_limit_get_through() -> None:
    attempts, begin = Attempts(10, 60.0), Barrier(40)

    def attempt(_number: int) -> bool:
        begin.wait()
        try:
            attempts.check("a", is_right=False)
        except Problem:
            return False
        return True

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(attempt, range(40))) == 10


def test_a_right_token_is_not_counted_but_waits_like_all_others() -> None:
    attempts = Attempts(1, 60.0)
    for _ in range(3):
        attempts.check("a", is_right=True)
    attempts.check("a", is_right=False)
    with pytest.raises(Problem):
        attempts.check("a", is_right=True)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("testclient", "testclient2", False),
    ],
)
def test_whose_attempts_are_counted_together(first: str, second: str, expected: bool) -> None:
    assert (source_of(first) == source_of(second)) is expected


def test_an_address_that_need_not_wait_any_more_takes_no_memory() -> None:
    clock = [0.0]
    attempts = Attempts(3, 60.0, lambda: clock[0])
    for number in range(100):
        clock[0] += 30
        attempts.check(str(number), is_right=False)
        assert len(attempts._failures) <= 2
