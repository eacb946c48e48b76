from __future__ import annotations

import sqlite3
from pathlib import Path

import argon2
import pytest

from nas.errors import ServiceError
from nas.service.store import Store
from nas.service.tokens import Tokens


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(store: Store, clock: Clock) -> Tokens:
    return Tokens(store, clock)


def test_a_token_is_recognised(tokens: Tokens) -> None:
    made, text = tokens.create("ann", "run")
    assert tokens.verify(text) == made
    assert tokens.verify(text) == made  # now from memory
    assert made.role == "run"


def test_the_secret_is_stored_nowhere(tokens: Tokens, tmp_path: Path) -> None:
    _, text = tokens.create("ann", "run")
    tokens.verify(text)
    dump = "\n".join(sqlite3.connect(tmp_path / "service.db").iterdump())
    assert "$argon2id$" in dump
    assert text.rpartition("_")[2] not in dump
    assert text not in repr(tokens.list())
    assert "argon2" not in repr(tokens.list())


@pytest.mark.parametrize("change", ["", "x", " ", "\n", "é", "\x00"])
def test_another_secret_is_refused(tokens: Tokens, change: str) -> None:
    _, text = tokens.create("ann", "run")
    assert tokens.verify(text[:-1] + change) is None
    assert tokens.verify(text + "A") is None
    last = "A" if text[-5] != "A" else "B"
    assert tokens.verify(text[:-5] + last + text[-4:]) is None


def test_the_secret_of_one_token_is_none_of_another(tokens: Tokens) -> None:
    _, one = tokens.create("ann", "run")
    _, other = tokens.create("bob", "read")
    assert tokens.verify(one) is not None
    assert tokens.verify(other[:17] + one[17:]) is None


def test_a_revoked_token_is_refused_at_once(tokens: Tokens) -> None:
    made, text = tokens.create("ann", "run")
    assert tokens.verify(text) is not None
    tokens.revoke(made.id)
    assert tokens.verify(text) is None
    assert tokens.recall(text) is None


def test_another_process_can_revoke(tokens: Tokens, store: Store) -> None:
    made, text = tokens.create("ann", "run")
    assert tokens.verify(text) is not None
    Tokens(store).revoke(made.id)
    assert tokens.verify(text) is None


def test_an_expired_token_is_refused(tokens: Tokens, clock: Clock) -> None:
    _, text = tokens.create("ann", "run", days=1)
    assert tokens.verify(text) is not None
    clock.time += 86_401
    assert tokens.verify(text) is None


def test_argon2_is_paid_once(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = tokens.create("ann", "run")
    calls = []
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, *arguments: str) -> object:
        calls.append(arguments)
        return verify(self, *arguments)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    for _ in range(5):
        assert tokens.verify(text) is not None
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["", "a\nb", "<b>", "x" * 81, "a;b"])
def test_a_name_is_plain(tokens: Tokens, name: str) -> None:
    with pytest.raises(ServiceError, match="use up to 80"):
        tokens.create(name, "run")


def test_roles_and_days_are_checked(tokens: Tokens) -> None:
    with pytest.raises(ServiceError, match="use read"):
        tokens.create("ann", "admin")  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match="more than 0"):
        tokens.create("ann", "run", days=0)


def test_what_isnt_there_cant_be_revoked(tokens: Tokens) -> None:
    with pytest.raises(ServiceError, match="nas token list"):
        tokens.revoke("nobody")
