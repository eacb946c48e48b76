from __future__ import annotations

import pytest

from nas.service.limits import Attempts
from nas.service.problems import Problem


def test_an_address_waits_after_so_many_wrong_tokens() -> None:
    time = [0.0]
    attempts = Attempts(3, 60.0, lambda: time[0])
    for _ in range(3):
        attempts.check("a")
        attempts.failed("a")
        time[0] += 10
    with pytest.raises(Problem) as problem:
        attempts.check("a")
    assert problem.value.headers["Retry-After"] == "30"
    attempts.check("b")
    time[0] = 60.0
    attempts.check("a")


def test_the_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.service.limits._MAX_ADDRESSES", 10)
    time = [0.0]
    attempts = Attempts(3, 60.0, lambda: time[0])
    for number in range(100):
        time[0] += 30
        attempts.failed(str(number))
    assert len(attempts._failures) <= 10
