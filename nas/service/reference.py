"""The API's reference as a page without any script, made from the OpenAPI description."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()


@router.get("/docs", include_in_schema=False)
def reference(request: Request) -> HTMLResponse:
    """Show every operation: what it takes, what it gives."""
    described = request.app.openapi()
    operations = [
        _operation(path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>nas: API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head><body><main>'
        f"<h1>nas: API, version 1</h1><p>{escape(described['info']['description'])} For programs: "
        f'<a href="{escape(request.app.openapi_url)}">OpenAPI</a>. Send <code>Authorization: Bearer nas_…</code> '
        "with a token of <code>nas token create</code>. Errors are problem details (RFC 9457).</p>"
        f"{''.join(operations)}</main></body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation.get('description', ''))}</p>",
    ]
    rows = [_parameter(p) for p in operation.get("parameters", []) if p["in"] != "cookie"]
    if rows:
        parts.append(f"<ul>{''.join(rows)}</ul>")
    body = operation.get("requestBody")
    if body:
        parts.append(f"<p>Takes {escape(_schema(body))} as JSON.</p>")
    answers = [
        f"{status} {escape(_schema(a) or a['description'])}" for status, a in operation["responses"].items()
    ]
    parts.append(f"<p>Answers: {'; '.join(answers)}.</p></section>")
    return "".join(parts)


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    default = f", {schema['default']} unless told otherwise" if "default" in schema else ""
    name = f"<code>{escape(parameter['name'])}</code> ({escape(parameter['in'])}{escape(default)})"
    return f"<li>{name} {escape(parameter.get('description', ''))}</li>"


def _schema(holder: dict[str, Any]) -> str:
    """Return the names of the schemas of a body."""
    schemas = [content.get("schema", {}) for content in holder.get("content", {}).values()]
    names = [str(s.get("$ref") or s.get("items", {}).get("$ref") or "").rpartition("/")[2] for s in schemas]
    return ", ".join(name for name in names if name)
