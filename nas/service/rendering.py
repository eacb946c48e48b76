"""How a page is answered: templates, the frame around them, and errors as pages instead of problem details."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from nas.front import verdict
from nas.report.tables import with_spread
from nas.service.assets import PLOTLY, address, plotly_styles
from nas.service.middleware import redirect, root_of
from nas.service.problems import Problem
from nas.service.words import ago, change, label


def page(request: Request, template: str, status: int = 200, **more: Any) -> HTMLResponse:
    """Return a rendered template in the page's frame."""
    theme = request.cookies.get("theme")
    frame = {
        "token": getattr(request.state, "token", None),
        "theme": theme if theme in ("light", "dark") else None,
        "here": "",
        "root": root_of(request),
    }
    return HTMLResponse(_templates().get_template(template).render({**frame, **more}), status)


def answer_problem(request: Request, problem: Problem) -> Response:
    """Return a problem as a page to who asks for one, and as problem details to programs and scripts of the page.

    Whoever isn't signed in is sent to the form.
    """
    if "text/html" not in request.headers.get("accept", ""):
        return problem.response()
    if problem.status == 401:
        path = request.scope["path"].removeprefix(root_of(request))
        there = quote(path) if request.method == "GET" else "/"
        return redirect(request, f"/login?next={there}")
    shown = page(request, "error.html", problem.status, title=problem.title, detail=problem.detail)
    shown.headers.update(problem.headers)
    return shown


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas.service"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        static=address, plotly=address(PLOTLY), plotly_styles=plotly_styles(), change=change, verdict=verdict
    )
    environment.filters.update(
        ago=lambda time: ago(time, datetime.now(UTC)), label=label, with_spread=with_spread
    )
    return environment
