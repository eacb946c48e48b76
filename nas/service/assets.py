"""The page's static files: ours, and plotly.js from the installed Python package."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import final

from fastapi import Request
from fastapi.responses import Response

PLOTLY = f"plotly-{version('plotly')}.min.js"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@final
@dataclass(frozen=True)
class Asset:
    """A file that never changes while the service runs.

    Args:
        content: As it is.
        compressed: With gzip.
        media_type: Of the content.
        version: Changes with the content.
    """

    content: bytes
    compressed: bytes
    media_type: str
    version: str


@functools.cache
def assets() -> dict[str, Asset]:
    """Return all static files by name."""
    folder = importlib.resources.files("nas.service") / "static"
    found = {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}
    found[PLOTLY] = _plotly().read_bytes()
    return {name: _asset(name, content) for name, content in found.items()}


def address(name: str) -> str:
    """Return where the page finds a static file; the address changes with the content."""
    return f"/static/{name}?v={assets()[name].version}"


@functools.cache
def plotly_styles() -> list[str]:
    """Return the ids of style elements that plotly.js would add for its maps, were there none of that id.

    The content security policy forbids them. A page that has elements of these ids is left alone.
    """
    return re.findall(r'getElementById\("([0-9a-f]{64})"\)', assets()[PLOTLY].content.decode())


def answer(request: Request, name: str) -> Response | None:
    """Return a static file, None if there is none of that name.

    A file that is asked for by its version may be kept for ever; one that another script imports by name is
    asked for again, and not sent again while it is the same.
    """
    asset = assets().get(name)
    if asset is None:
        return None
    headers = {"ETag": f'"{asset.version}"', "Vary": "Accept-Encoding"}
    headers["Cache-Control"] = _FOR_EVER if request.query_params.get("v") == asset.version else "no-cache"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return packed(request, asset.content, asset.media_type, headers, asset.compressed)


def packed(
    request: Request,
    content: bytes,
    media_type: str,
    headers: dict[str, str] | None = None,
    compressed: bytes | None = None,
) -> Response:
    """Return content, with gzip where the client takes it."""
    headers = dict(headers or {})
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        content = gzip.compress(content, 3) if compressed is None else compressed
    return Response(content, media_type=media_type, headers=headers)


def _plotly() -> Path:
    """Return where plotly.js lies, without importing the package around it."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


def _asset(name: str, content: bytes) -> Asset:
    version = hashlib.sha256(content).hexdigest()[:12]
    return Asset(content, gzip.compress(content, 6, mtime=0), _TYPES[name.rpartition(".")[2]], version)
