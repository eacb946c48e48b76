"""Bearer tokens: made, verified, revoked. The secret is shown once and stored as an argon2 hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import final

import argon2

from nas.errors import ServiceError
from nas.service.store import Role, Store, Token

_FORM = re.compile(r"nas_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_MAX_REMEMBERED = 1024
_DAY_S = 86_400.0


@final
class Tokens:
    """The tokens of a store.

    A token reads ``nas_<id>_<secret>``. The id is public and finds the row; the secret has 256 random bits and
    is compared by argon2. That takes tens of milliseconds by design, so a secret that was right is
    remembered, by a hash under a key of this process, for as long as its row stays as it is: a token that is
    revoked or expires is turned down at once.

    Args:
        store: Where they are.
        now: Seconds since 1970.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, str] = {}
        self._one_at_a_time = threading.Lock()  # argon2 takes 19 MiB and a core

    def create(self, name: str, role: Role, days: float | None = None) -> tuple[Token, str]:
        """Make a token and return it with its text, which can't be had again.

        Raises:
            ServiceError: the name or the days are not valid.
        """
        if not re.fullmatch(r"[\w .@+-]{1,80}", name, re.ASCII):
            raise ServiceError(
                f"a token is named {name!r}: use up to 80 letters, digits, spaces and any of '.@+-_'."
            )
        if role not in ("read", "run"):
            raise ServiceError(
                f"a token has role {role!r}: use read (look and download) or run (also start)."
            )
        if days is not None and not 0 < days <= 3650:
            raise ServiceError(f"a token is to last {days} days: give more than 0 and at most 3650.")
        id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = self._now()
        expires = None if days is None else now + days * _DAY_S
        token = Token(id_, name, role, self._hasher.hash(secret), now, expires)
        self._store.add_token(token)
        return token, f"nas_{id_}_{secret}"

    def verify(self, text: str) -> Token | None:
        """Return the token that ``text`` is, or None if it is none that is valid now."""
        found = self._find(text)
        if found is None:
            return None
        token, secret = found
        return token if self._is_secret(token, secret) else None

    def recall(self, text: str) -> Token | None:
        """Return the token that ``text`` is, if it is valid and was verified not long ago; cheap."""
        found = self._find(text)
        return found[0] if found is not None and self._is_remembered(self._mark(*found), found[0]) else None

    def _find(self, text: str) -> tuple[Token, str] | None:
        """Return the valid token whose id is in ``text``, and the secret that is yet to be verified."""
        parts = _FORM.fullmatch(text)
        token = None if parts is None else self._store.token(parts[1])
        if parts is None or token is None or not token.is_valid(self._now()):
            return None
        return token, parts[2]

    def usable(self, id_: str) -> Token | None:
        """Return the token of that id, if it is valid now."""
        token = self._store.token(id_)
        return token if token is not None and token.is_valid(self._now()) else None

    def list(self) -> list[Token]:
        """Return all tokens, revoked ones too, oldest first."""
        return self._store.tokens()

    def is_any_valid(self) -> bool:
        """Whether somebody can sign in."""
        return any(token.is_valid(self._now()) for token in self.list())

    def revoke(self, id_: str) -> Token:
        """Make a token worthless.

        Raises:
            ServiceError: there is none of that id.
        """
        token = self._store.token(id_)
        if token is None:
            raise ServiceError(f"there is no token {id_!r}: 'nas token list' shows the ids.")
        self._store.revoke_token(id_, self._now())
        return token

    def _is_secret(self, token: Token, secret: str) -> bool:
        mark = self._mark(token, secret)
        if self._is_remembered(mark, token):
            return True
        with self._one_at_a_time:
            if self._is_remembered(mark, token):
                return True
            try:
                self._hasher.verify(token.secret_hash, secret)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                return False
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[mark] = token.secret_hash
            return True

    def _mark(self, token: Token, secret: str) -> bytes:
        return hmac.digest(self._key, f"{token.id} {secret}".encode(), "sha256")

    def _is_remembered(self, mark: bytes, token: Token) -> bool:
        return hmac.compare_digest(self._remembered.get(mark, ""), token.secret_hash)


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a random secret, to store it by."""
    return hashlib.sha256(secret.encode()).hexdigest()
