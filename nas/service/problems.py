"""Errors as RFC 9457 problem details, in our words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from nas.errors import NasError

MEDIA_TYPE = "application/problem+json"
_MAX_DETAIL = 2000  # characters: what is quoted of a request may be as long as its body


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(description="Identifies the kind of problem.", examples=["urn:nas:unknown-run"])
    title: str = Field(description="The kind of problem, in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened and what to do, in a sentence.")


@final
class Problem(Exception):  # noqa: N818 # RFC 9457 has no errors, it has problems
    """A request that can't be met.

    Args:
        status: HTTP status.
        kind: Short, with hyphens; becomes ``type`` and, in words, ``title``.
        detail: A sentence: what, and what to do.
        headers: Headers of the response.
        more: Further members of the answer, such as the limit that was hit.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.more = dict(headers or {}), dict(more or {})

    @property
    def title(self) -> str:
        """The kind in words."""
        return self.kind.replace("-", " ").capitalize()

    def response(self) -> Response:
        """Return the answer."""
        content = {
            "type": f"urn:nas:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail[:_MAX_DETAIL],
            **self.more,
        }
        text = json.dumps(content)  # in ASCII: what is quoted of a request need not be valid Unicode
        return Response(text, self.status, self.headers, MEDIA_TYPE)


def make_refusal(sentence: str) -> Problem:
    """Return the problem of a request that asks for what can't be (422)."""
    return Problem(422, "not-valid", sentence)


def document_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of problems with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def install(app: FastAPI, answer: Callable[[Request, Problem], Response], runs: Path) -> None:
    """Make every error of ``app`` a problem, answered by ``answer``.

    Args:
        app: The application.
        answer: Makes a response of a problem.
        runs: Folder of the run directories. Clients know a run by its name, and nothing of where the service keeps it.
    """

    async def on_error(request: Request, error: Exception) -> Response:
        return answer(request, _to_problem(error, runs))

    async def on_bug(_request: Request, error: Exception) -> Response:  # the server logs the traceback
        return _to_problem(error, runs).response()

    for kind in (Problem, HTTPException, RequestValidationError, NasError):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(Exception, on_bug)


def describe(app: FastAPI) -> None:
    """Put the schema of problems into the OpenAPI description, where every route refers to it."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        described = make()
        described["components"]["schemas"].setdefault("ProblemDetails", ProblemDetails.model_json_schema())
        return described

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI documents this way


def _to_problem(error: Exception, runs: Path) -> Problem:
    match error:
        case Problem():
            return error
        case HTTPException():
            kind, detail = _HTTP_KINDS.get(error.status_code, ("http-error", str(error.detail)))
            return Problem(error.status_code, kind, detail, headers=error.headers)
        case RequestValidationError():
            return _of_validation(error)
        case NasError():
            return Problem(409, "not-possible", str(error).replace(f"{runs}{os.sep}", ""))
    return Problem(500, "defect", "The service failed to answer: this is a defect; its log says more.")


# in our words, where Starlette says no more than the name of the status
_HTTP_KINDS = {
    400: (
        "unreadable-request",
        "The request can't be read: send valid JSON in UTF-8, or the page's own form.",
    ),
    404: ("not-found", "There is nothing at this address: the API is described at /docs."),
    405: ("method-not-allowed", "This address doesn't take that method: see the Allow header."),
    413: ("body-too-large", "The request's body is too large: send what the API describes and no more."),
}


def _of_validation(error: RequestValidationError) -> Problem:
    faults = [
        {"where": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors()[:20]
    ]
    first = faults[0] if faults else {"where": "request", "message": "not valid"}
    detail = f"The request is not valid at {first['where']}: {first['message']}."
    return Problem(422, "not-valid", detail, more={"faults": faults})
