"""How a page is answered: templates, the frame around them, and errors as pages instead of problem details."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

import jinja2
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, Response

from nas.service.assets import PLOTLY, address, plotly_styles
from nas.service.middleware import redirect, root_of
from nas.service.problems import Problem
from nas.service.words import ago, label

_MAX_FIELDS = 100
Form = Mapping[str, list[str]]


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


async def _read_form(request: Request) -> Form:
    """Return the fields of a form that was sent.

    Raises:
        Problem: the body is no form (400).
    """
    try:
        body = (await request.body()).decode("ascii")
        return parse_qs(body, strict_parsing=bool(body), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Problem(
            400, "unreadable-request", "The request is no form of this page: load it and try again."
        ) from None


Posted = Annotated[Form, Depends(_read_form)]
"""A route's parameter of this type is the form that was sent."""


def field(form: Form, name: str) -> str:
    """Return a field of a form, empty where it wasn't sent."""
    return form.get(name, [""])[0]


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
    environment.globals.update(static=address, plotly=address(PLOTLY), plotly_styles=plotly_styles())
    environment.filters.update(ago=lambda time: ago(time, datetime.now(UTC)), label=label)
    return environment
