"""The page's static files: ours, and plotly.js from the installed Python package."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import final

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.staticfiles import PathLike
from starlette.types import Scope

PLOTLY = "plotly.min.js"
_FOR_EVER = "public, max-age=31536000, immutable"


@final
class Assets(StaticFiles):
    """Files that never change while the service runs.

    One that is asked for by its version may be kept for ever; one that another script imports by name is asked for
    again, and not sent again while it is the same.
    """

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the answer for a file that is there."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_current = scope["query_string"].decode("latin-1") == f"v={_version_of(str(full_path))}"
        response.headers["Cache-Control"] = _FOR_EVER if is_current else "no-cache"
        return response


ASSETS = Assets(directory=Path(__file__).parent / "static", packages=[("plotly", "package_data")])


def address(name: str) -> str:
    """Return where the page finds a static file; the address changes with the content."""
    return f"/static/{name}?v={_version_of(ASSETS.lookup_path(name)[0])}"


@functools.cache
def plotly_styles() -> list[str]:
    """Return the ids of style elements that plotly.js would add for its maps, were there none of that id.

    The content security policy forbids them. A page that has elements of these ids is left alone.
    """
    code = Path(ASSETS.lookup_path(PLOTLY)[0]).read_text()
    return re.findall(r'getElementById\("([0-9a-f]{64})"\)', code)


@functools.cache
def _version_of(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
