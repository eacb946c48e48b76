from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from nas.errors import ServiceError
from nas.service.store import Store, Token
from nas.service.tokens import Tokens, digest_of


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
    assert made.role == "run"


def test_the_secret_is_stored_nowhere(tokens: Tokens, tmp_path: Path) -> None:
    _, text = tokens.create("ann", "run")
    tokens.verify(text)
    dump = "\n".join(sqlite3.connect(tmp_path / "service.db").iterdump())
    secret = text[17:]
    assert digest_of(secret) in dump
    assert secret not in dump
    assert secret not in repr(tokens.list())
    assert digest_of(secret) not in repr(tokens.list())


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


def test_a_token_of_a_version_that_stored_another_hash_is_worth_nothing(tokens: Tokens, store: Store) -> None:
    secret = "A" * 43
    with store.begin() as session:
        session.add(Token("0" * 12, "ann", "run", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", 0.0))
    assert tokens.verify(f"nas_{'0' * 12}_{secret}") is None
    assert tokens.usable("0" * 12) is None  # its sign-ins are over too
    assert not tokens.is_any_valid()


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
