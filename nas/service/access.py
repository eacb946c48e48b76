"""Who is asking, and whether they may: dependencies of the routes."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Annotated, final
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyCookie, HTTPBearer

from nas.service.limits import Attempts
from nas.service.prefix import root_of
from nas.service.problems import Problem
from nas.service.sessions import COOKIE, CSRF_HEADER, FORM_COOKIE, Sessions, csrf_token, is_csrf_token
from nas.service.store import Role, Token
from nas.service.tokens import Tokens

_FORM_S = 86_400  # who leaves the form to sign in open for longer loads it again
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_bearer = HTTPBearer(auto_error=False, description="A token of 'nas token create'.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The page's sign-in.")


@final
@dataclass(frozen=True)
class Principal:
    """Who is asking.

    Args:
        token: Theirs.
        csrf: What their page must send to change something; None with a bearer token.
    """

    token: Token
    csrf: str | None

    @property
    def may_run(self) -> bool:
        """Whether they may start, stop and change runs."""
        return self.token.role == "run"


@final
class Access:
    """Recognises who sends a request.

    Args:
        tokens: The service's.
        sessions: The service's.
        attempts: Counts wrong tokens per address.
        https: Whether cookies are for HTTPS alone, whatever the request says.
    """

    def __init__(self, tokens: Tokens, sessions: Sessions, attempts: Attempts, *, https: bool) -> None:
        self._tokens, self._sessions, self._attempts, self._https = tokens, sessions, attempts, https
        self._known: set[str] = set()  # ids of tokens that were shown to this process

    def principal(self, request: Request) -> Principal | None:
        """Return who sends ``request``, or None if it bears neither token nor cookie.

        Raises:
            Problem: token or cookie is not valid (401), or its address must wait (429).
        """
        header = request.headers.get("authorization")
        if header is not None:
            return Principal(self._verified(request, header), None)
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return None
        token = self._sessions.token_of(cookie)
        if token is None:
            raise _unauthorised("This sign-in is over: sign in again.")
        return Principal(token, csrf_token(cookie))

    def visitor(self, request: Request) -> Principal | None:
        """Return who sends ``request``, or None if nobody is signed in; for pages, which then ask to."""
        try:
            return self.principal(request)
        except Problem:
            return None

    def sign_in(self, request: Request, response: Response, text: str) -> Principal:
        """Exchange a token for a cookie, set on ``response``.

        Raises:
            Problem: another site sent the request (403), the token is not valid (401), or the address must wait (429).
        """
        if is_foreign(request):  # it would sign somebody in as whoever made that site
            raise _foreign("The request signs in and comes from another site")
        token = self._checked(request, text.strip())
        cookie = self._sessions.open(token)
        self._set_cookie(request, response, COOKIE, cookie, int(self._sessions.seconds))
        return Principal(token, csrf_token(cookie))

    def sign_out(self, request: Request, response: Response) -> None:
        """End the sign-in of a request's cookie."""
        cookie = request.cookies.get(COOKIE)
        if cookie is not None:
            self._sessions.close(cookie)
        response.delete_cookie(COOKIE, path=root_of(request) or "/", httponly=True, samesite="strict")

    def form_mark(self, request: Request) -> str:
        """Return what marks a browser that is shown the form to sign in: the cookie that it has, or a new one.

        Nobody is signed in yet, so the proof that the form is ours rests on a cookie of its own.
        """
        mark = request.cookies.get(FORM_COOKIE, "")
        return mark if re.fullmatch(r"[\w-]{43}", mark, re.ASCII) else secrets.token_urlsafe(32)

    def mark_browser(self, request: Request, response: Response, mark: str) -> None:
        """Let a browser keep its mark."""
        self._set_cookie(request, response, FORM_COOKIE, mark, _FORM_S)

    def check_form(self, request: Request, sent: str) -> None:
        """Refuse a form to sign in that isn't ours.

        Raises:
            Problem: it bears no proof, or another browser's (403).
        """
        mark = request.cookies.get(FORM_COOKIE)
        if mark is None or not is_csrf_token(mark, sent):
            raise _foreign("The form to sign in is old, or of another site")

    def _set_cookie(self, request: Request, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            httponly=True,
            samesite="strict",
            secure=self._https or request.url.scheme == "https",
            path=root_of(request) or "/",
        )

    def check_csrf(self, request: Request, sent: str) -> None:
        """Refuse a change that our own page didn't send; a bearer token needs no such proof.

        Raises:
            Problem: the request bears a cookie without its proof, or comes from another site (403).
        """
        cookie = request.cookies.get(COOKIE)
        if cookie is None or "authorization" in request.headers:
            return
        if is_foreign(request) or not is_csrf_token(cookie, sent):
            raise _foreign(
                "The request changes something and doesn't come from this page",
                f"send the header {CSRF_HEADER}, or use a bearer token",
            )

    def is_still(self, principal: Principal) -> bool:
        """Whether the token is still valid; for what lasts longer than a request."""
        return self._tokens.usable(principal.token.id) is not None

    def _verified(self, request: Request, header: str) -> Token:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorised("The Authorization header is not of a bearer token: send 'Bearer nas_...'.")
        return self._checked(request, text.strip())

    def _checked(self, request: Request, text: str) -> Token:
        token = self._tokens.verify(text)
        if token is not None and token.id in self._known:
            return token  # whoever is in stays in, whatever others behind the same address try
        address = request.client.host if request.client else ""
        self._attempts.check(address, is_right=token is not None)
        if token is None:
            raise _unauthorised(
                "The token is wrong, revoked, expired or of an older version: make one with 'nas token create'."
            )
        self._known.add(token.id)
        return token


def is_foreign(request: Request) -> bool:
    """Whether a browser says that another site makes it send the request; programs say nothing.

    Browsers send ``Sec-Fetch-Site`` where a page came over HTTPS or from this machine, and ``Origin`` with what changes
    something. Neither can be set by a page.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _foreign(what: str, to_do: str = "load the page again and send its own form") -> Problem:
    return Problem(403, "foreign-request", f"{what}: {to_do}.")


def _unauthorised(detail: str) -> Problem:
    return Problem(401, "not-signed-in", detail, headers={"WWW-Authenticate": "Bearer"})


def access_of(request: Request) -> Access:
    """Return the application's :class:`Access`."""
    access: Access = request.app.state.access
    return access


def _require(request: Request, role: Role) -> Principal:
    access = access_of(request)
    principal = access.principal(request)
    if principal is None:
        raise _unauthorised(
            "Nobody is signed in: send 'Authorization: Bearer nas_...', or sign in on the page."
        )
    if request.method not in _SAFE_METHODS:
        access.check_csrf(request, request.headers.get(CSRF_HEADER, ""))
    if role == "run" and not principal.may_run:
        raise Problem(
            403,
            "not-allowed",
            f"The token {principal.token.name!r} has the role read: starting and stopping needs the role run.",
        )
    return principal


def _reader(request: Request, _b: object = Depends(_bearer), _c: object = Depends(_cookie)) -> Principal:
    return _require(request, "read")


def _runner(request: Request, _b: object = Depends(_bearer), _c: object = Depends(_cookie)) -> Principal:
    return _require(request, "run")


Reader = Annotated[Principal, Depends(_reader)]
"""A route's parameter of this type lets in whoever may read."""

Runner = Annotated[Principal, Depends(_runner)]
"""A route's parameter of this type lets in whoever may run studies."""
