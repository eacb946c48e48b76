"""Bearer tokens and the sign-ins made with them. A secret is shown once; what is stored is its SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import final

from sqlalchemy import delete, select

from nas.errors import ServiceError
from nas.service.store import Role, SignIn, Store, Token

_FORM = re.compile(r"nas_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_DAY_S = 86_400.0  # 24 hours


@final
class Tokens:
    """The tokens of a store.

    A token reads ``nas_<id>_<secret>``. The id is public and finds the row. The secret has 256 random bits: nobody can
    guess it from its SHA-256, so the slow hashes that passwords need would protect nothing more.

    Args:
        store: Where they are.
        now: Seconds since 1970.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

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
        token = Token(id_, name, role, digest_of(secret), now, expires)
        with self._store.begin() as session:
            session.add(token)
        return token, f"nas_{id_}_{secret}"

    def verify(self, text: str) -> Token | None:
        """Return the token that ``text`` is, or None if it is none that is valid now."""
        parts = _FORM.fullmatch(text)
        token = None if parts is None else self.usable(parts[1])
        if parts is None or token is None or not hmac.compare_digest(digest_of(parts[2]), token.secret_hash):
            return None
        return token

    def usable(self, id_: str) -> Token | None:
        """Return the token of that id, if it is valid now."""
        with self._store.begin() as session:
            token = session.get(Token, id_)
        return token if token is not None and token.is_valid(self._now()) else None

    def list(self) -> list[Token]:
        """Return all tokens, revoked ones too, oldest first."""
        with self._store.begin() as session:
            return list(session.scalars(select(Token).order_by(Token.created)))

    def is_any_valid(self) -> bool:
        """Whether somebody can sign in."""
        return any(token.is_valid(self._now()) for token in self.list())

    def revoke(self, id_: str) -> Token:
        """Make a token worthless, with all sign-ins made by it.

        Raises:
            ServiceError: there is none of that id.
        """
        with self._store.begin() as session:
            token = session.get(Token, id_)
            if token is None:
                raise ServiceError(f"there is no token {id_!r}: 'nas token list' shows the ids.")
            token.revoked = self._now()
            session.execute(delete(SignIn).where(SignIn.token_id == id_))
        return token

    def open_session(self, token: Token, seconds: float) -> str:
        """Begin a sign-in of a browser and return its cookie, which is random; it ends with its token at the latest."""
        cookie, now = secrets.token_urlsafe(32), self._now()
        with self._store.begin() as session:
            session.execute(delete(SignIn).where(SignIn.expires <= now))
            session.add(SignIn(digest_of(cookie), token.id, now + seconds))
        return cookie

    def find_session(self, cookie: str) -> Token | None:
        """Return whose sign-in a cookie is, or None if it is over or never was."""
        with self._store.begin() as session:
            found = session.get(SignIn, digest_of(cookie))
        return None if found is None or found.expires <= self._now() else self.usable(found.token_id)

    def close_session(self, cookie: str) -> None:
        """End a sign-in."""
        with self._store.begin() as session:
            session.execute(delete(SignIn).where(SignIn.digest == digest_of(cookie)))


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a random secret, to store it by."""
    return hashlib.sha256(secret.encode()).hexdigest()
