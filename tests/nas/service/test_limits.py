from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from nas.service.limits import Attempts, source_of
from nas.service.problems import Problem
from nas.service.state import State


def test_an_address_waits_after_so_many_wrong_tokens() -> None:
    clock = [0.0]
    attempts = Attempts(3, 60.0, lambda: clock[0])
    for _ in range(3):
        assert attempts.tried("a", lambda: None) is None
        clock[0] += 10
    with pytest.raises(Problem) as problem:
        attempts.tried("a", lambda: None)
    assert problem.value.headers["Retry-After"] == "30"
    attempts.tried("b", lambda: None)
    clock[0] = 60.0
    attempts.tried("a", lambda: None)


def test_of_many_attempts_at_once_no_more_than_the_limit_are_looked_at() -> None:
    attempts, begin, looked_at = Attempts(10, 60.0), Barrier(40), []

    def wrong() -> None:
        looked_at.append("")
        time.sleep(0.001)  # what argon2 takes: the other threads get their turn

    def attempt(_number: int) -> bool:
        begin.wait()
        try:
            attempts.tried("a", wrong)
        except Problem:
            return False
        return True

    with ThreadPoolExecutor(40) as pool:
        assert sum(pool.map(attempt, range(40))) == 10
    assert len(looked_at) == 10


def test_a_right_token_is_not_counted(run_token: str, service: State) -> None:
    attempts = Attempts(1, 60.0)
    for _ in range(3):
        assert attempts.tried("a", lambda: service.tokens.verify(run_token)) is not None


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


def test_the_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.service.limits._MAX_ADDRESSES", 10)
    clock = [0.0]
    attempts = Attempts(3, 60.0, lambda: clock[0])
    for number in range(100):
        clock[0] += 30
        attempts.tried(str(number), lambda: None)
    assert len(attempts._failures) <= 10
