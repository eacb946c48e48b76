"""What stands around the application (ASGI middleware): headers, the longest address, the path of a proxy."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nas.service.problems import Problem

_HEADERS = {
    # scripts and styles come from files of ours: none inline, none of a third party
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, our own forms would say that they come from "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def add_security_headers(app: ASGIApp) -> ASGIApp:
    """Put headers on every answer that keep a browser from doing what our pages never ask for.

    Answers aren't cached unless they say so.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await app(scope, receive, send_with_headers)

    return handle


def limit_address(app: ASGIApp, max_bytes: int) -> ASGIApp:
    """Turn down requests whose path and query are longer than ``max_bytes``."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        length = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        if length <= max_bytes:
            return await app(scope, receive, send)
        said = f"The address has {length} bytes: at most {max_bytes} are read."
        return await Problem(414, "address-too-long", said).response()(scope, receive, send)

    return handle


def add_prefix(app: ASGIApp, root: str) -> ASGIApp:
    """Take requests with the prefix and without it, as some proxies strip it and some don't.

    Args:
        app: Gets every path with the prefix, as ASGI wants it.
        root: The prefix; empty for none.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and root:
            path = f"{scope['path']}/" if scope["path"] == root else scope["path"]
            scope = {**scope, "root_path": root, "path": path if path.startswith(f"{root}/") else root + path}
        await app(scope, receive, send)

    return handle


def root_of(request: Request) -> str:
    """Return what stands before every path of ours: empty, or such as ``/nas``."""
    return str(request.scope.get("root_path", ""))


def redirect(request: Request, path: str, status: int = 303) -> RedirectResponse:
    """Lead to a path of ours, written without the prefix."""
    return RedirectResponse(root_of(request) + path, status)
