"""The API's reference as a page, made from the OpenAPI description."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from nas.service.access import access_of
from nas.service.middleware import root_of
from nas.service.rendering import page

router = APIRouter()


@router.get("/docs", include_in_schema=False)
def reference(request: Request) -> Response:
    """Show every operation: what it takes, what it gives."""
    described = request.app.openapi()
    operations = [
        _operation(path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    request.state.token = access_of(request).visitor(request)
    summary, address = described["info"]["description"], root_of(request) + request.app.openapi_url
    return page(request, "reference.html", summary=summary, openapi=address, operations=operations)


def _operation(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": operation["operationId"],
        "name": f"{method.upper()} {path}",
        "does": operation.get("description", ""),
        "parameters": [_parameter(p) for p in operation.get("parameters", []) if p["in"] != "cookie"],
        "takes": _schemas(operation.get("requestBody", {})),
        "answers": {
            status: _schemas(answer) or answer["description"]
            for status, answer in operation["responses"].items()
        },
    }


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": parameter["name"],
        "place": parameter["in"],
        "default": parameter.get("schema", {}).get("default"),
        "does": parameter.get("description", ""),
    }


def _schemas(holder: dict[str, Any]) -> str:
    """Return the names of the schemas of a body."""
    schemas = [content.get("schema", {}) for content in holder.get("content", {}).values()]
    names = [str(s.get("$ref") or s.get("items", {}).get("$ref") or "").rpartition("/")[2] for s in schemas]
    return ", ".join(name for name in names if name)
