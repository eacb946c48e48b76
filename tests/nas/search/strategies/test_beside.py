"""What is made in a thread while a search goes on."""

from __future__ import annotations

import contextlib
import threading

import pytest

from nas.search.strategies.beside import Beside, Take


def until_free(beside: Beside) -> None:
    while not beside.is_free():
        pass


def test_what_is_made_is_put_into_use_where_it_is_asked_for() -> None:
    used: list[int] = []
    go_on = threading.Event()

    def make() -> Take:
        assert go_on.wait(600)
        maker = threading.get_ident()
        return lambda: used.extend((maker, threading.get_ident()))

    with contextlib.closing(Beside()) as beside:
        assert beside.is_free()
        beside.begin(make)
        assert not beside.is_free()
        assert not used
        go_on.set()
        until_free(beside)
        maker, user = used
        assert user == threading.get_ident() != maker
        beside.begin(make)
        until_free(beside)
        assert len(used) == 4


def test_what_making_raises_is_raised_where_it_is_asked_for() -> None:
    def broken() -> Take:
        raise ZeroDivisionError

    with contextlib.closing(Beside()) as beside:
        beside.begin(broken)
        with pytest.raises(ZeroDivisionError):
            until_free(beside)
        assert beside.is_free()
