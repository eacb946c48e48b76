"""Who is asking, and whether they may: dependencies of the routes."""

from __future__ import annotations

from typing import Annotated, final

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyCookie, HTTPBearer

from nas.service.limits import Attempts
from nas.service.middleware import root_of
from nas.service.problems import Problem
from nas.service.store import Token
from nas.service.tokens import Tokens

COOKIE = "nas_session"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_bearer = HTTPBearer(auto_error=False, description="A token of 'nas token create'.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The page's sign-in.")


@final
class Access:
    """Recognises who sends a request.

    Args:
        tokens: The service's.
        attempts: Counts wrong tokens per address.
        session_s: How long a sign-in lasts.
        https: Whether cookies are for HTTPS alone, whatever the request says.
    """

    def __init__(self, tokens: Tokens, attempts: Attempts, *, session_s: float, https: bool) -> None:
        self._tokens, self._attempts, self._session_s, self._https = tokens, attempts, session_s, https
        self._known: set[str] = set()  # ids of tokens that were shown to this process

    def token_of(self, request: Request) -> Token | None:
        """Return the token that sends ``request``, or None if it bears neither token nor cookie.

        Raises:
            Problem: token or cookie is not valid (401), or its address must wait (429).
        """
        header, cookie = request.headers.get("authorization"), request.cookies.get(COOKIE)
        if header is not None:
            scheme, _, text = header.partition(" ")
            if scheme.lower() != "bearer":
                raise _make_unauthorised(
                    "The Authorization header is not of a bearer token: send 'Bearer nas_...'."
                )
            return self._check_token(request, text)
        if cookie is None:
            return None
        token = self._tokens.find_session(cookie)
        if token is None:
            raise _make_unauthorised("This sign-in is over: sign in again.")
        return token

    def visitor(self, request: Request) -> Token | None:
        """Return who sends ``request``, or None if nobody is signed in; for pages, which then ask to."""
        try:
            return self.token_of(request)
        except Problem:
            return None

    def sign_in(self, request: Request, response: Response, text: str) -> Token:
        """Exchange a token for a cookie, set on ``response``.

        Raises:
            Problem: the token is not valid (401), or the address must wait (429).
        """
        token = self._check_token(request, text)
        response.set_cookie(
            COOKIE,
            self._tokens.open_session(token, self._session_s),
            max_age=int(self._session_s),
            httponly=True,
            samesite="strict",
            secure=self._https or request.url.scheme == "https",
            path=root_of(request) or "/",
        )
        return token

    def sign_out(self, request: Request, response: Response) -> None:
        """End the sign-in of a request's cookie."""
        self._tokens.close_session(request.cookies.get(COOKIE, ""))
        response.delete_cookie(COOKIE, path=root_of(request) or "/", httponly=True, samesite="strict")

    def is_still(self, token: Token) -> bool:
        """Whether the token is still valid; for what lasts longer than a request."""
        return self._tokens.usable(token.id) is not None

    def _check_token(self, request: Request, text: str) -> Token:
        token = self._tokens.verify(text.strip())
        if token is not None and token.id in self._known:
            return token  # whoever is in stays in, whatever others behind the same address try
        self._attempts.check(request.client.host if request.client else "", is_right=token is not None)
        if token is None:
            raise _make_unauthorised(
                "The token is wrong, revoked, expired or of an older version: make one with 'nas token create'."
            )
        self._known.add(token.id)
        return token


def refuse_other_sites(request: Request) -> None:
    """Refuse a change that another site makes a browser send; a dependency of every route.

    Browsers send ``Sec-Fetch-Site`` where a page came over HTTPS or from this machine, and ``Origin`` with what changes
    something; no page can set either. Programs send neither, and what bears its token itself was not sent by a
    browser on its own. So do Go's http.CrossOriginProtection and Datasette, after https://words.filippo.io/csrf/.

    Raises:
        Problem: it comes from another site (403).
    """
    if request.method in _SAFE_METHODS or "authorization" in request.headers:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not is_ours:
        raise Problem(
            403,
            "foreign-request",
            "The request changes something and comes from another site: load our page again and send its own form.",
        )


def _make_unauthorised(detail: str) -> Problem:
    return Problem(401, "not-signed-in", detail, headers={"WWW-Authenticate": "Bearer"})


def access_of(request: Request) -> Access:
    """Return the application's :class:`Access`."""
    access: Access = request.app.state.access
    return access


def reader(request: Request, _b: object = Depends(_bearer), _c: object = Depends(_cookie)) -> Token:
    """Return who asks, and keep it for the page's frame; a dependency of all that isn't for everybody.

    Raises:
        Problem: nobody is signed in, or with what isn't valid (401).
    """
    token = access_of(request).token_of(request)
    if token is None:
        raise _make_unauthorised(
            "Nobody is signed in: send 'Authorization: Bearer nas_...', or sign in on the page."
        )
    request.state.token = token
    return token


Reader = Annotated[Token, Depends(reader)]
"""A route's parameter of this type is the token of whoever asks."""


def _runner(token: Reader) -> Token:
    if not token.may_run:
        raise Problem(
            403,
            "not-allowed",
            f"The token {token.name!r} has the role read: starting and stopping needs the role run.",
        )
    return token


Runner = Annotated[Token, Depends(_runner)]
"""A route's parameter of this type lets in whoever may run studies."""
