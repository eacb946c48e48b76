"""The service below a path of its proxy: ``https://example.org/nas/runs`` instead of ``https://example.org/runs``."""

from __future__ import annotations

from typing import final

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OWN_PATHS = ("api", "compare", "devices", "docs", "login", "logout", "runs", "static", "studies")
"""How paths of ours begin. A prefix that begins so couldn't be told from them."""


def root_of(request: Request) -> str:
    """Return what stands before every path of ours: empty, or such as ``/nas``."""
    return str(request.scope.get("root_path", ""))


def redirect(request: Request, path: str, status: int = 303) -> RedirectResponse:
    """Lead to a path of ours, written without the prefix."""
    return RedirectResponse(root_of(request) + path, status)


@final
class Prefix:
    """Takes requests with the prefix and without it (ASGI middleware), as some proxies strip it and some don't.

    Args:
        app: Gets every path with the prefix, as ASGI wants it.
        root: The prefix; empty for none.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and self._root:
            path = scope["path"] if _is_below(scope["path"], self._root) else self._root + scope["path"]
            whole = f"{self._root}/" if path == self._root else path
            scope = {**scope, "root_path": self._root, "path": whole}
        await self._app(scope, receive, send)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
