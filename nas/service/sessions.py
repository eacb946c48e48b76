"""Sign-ins of browsers: a cookie instead of the token."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import final

from nas.service.store import SignIn, Store, Token
from nas.service.tokens import Tokens, digest_of

COOKIE = "nas_session"


@final
class Sessions:
    """The sign-ins of a store.

    The cookie's value is random; what is stored is its SHA-256. A session ends with its token.

    Args:
        store: Where they are.
        tokens: Tokens in the same store.
        hours: How long one lasts.
        now: Seconds since 1970.
    """

    def __init__(
        self, store: Store, tokens: Tokens, hours: float, now: Callable[[], float] = time.time
    ) -> None:
        self._store, self._tokens, self._now = store, tokens, now
        self.seconds = hours * 3600

    def open(self, token: Token) -> str:
        """Begin a sign-in and return the cookie's value."""
        cookie = secrets.token_urlsafe(32)
        now = self._now()
        self._store.add_sign_in(SignIn(digest_of(cookie), token.id, now + self.seconds), now)
        return cookie

    def token_of(self, cookie: str) -> Token | None:
        """Return whose sign-in a cookie is, or None if it is over or never was."""
        found = self._store.sign_in(digest_of(cookie))
        if found is None or found.expires <= self._now():
            return None
        return self._tokens.usable(found.token_id)

    def close(self, cookie: str) -> None:
        """End a sign-in."""
        self._store.drop_sign_in(digest_of(cookie))
