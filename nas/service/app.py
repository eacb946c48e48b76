"""The application: routes, errors, limits and headers, around the service's state."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.middleware import Middleware

from nas.service import api, problems, reference
from nas.service.headers import SecurityHeaders
from nas.service.limits import QueryLimit
from nas.service.settings import Settings
from nas.service.state import State

_PAGES = "nas.service.pages"


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Its state holds ``service``, and by name ``store``, ``supervisor``, ``settings``.

    Raises:
        ServiceError: the database can't be opened.
    """
    service = State.of(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.supervisor.begin)
        service.studies.warm()
        try:
            yield
        finally:
            service.watches.end()
            await asyncio.to_thread(service.supervisor.end)
            service.close()

    app = FastAPI(
        title="nas",
        version=version("nas"),
        description="Multi-objective neural architecture search: start studies, watch them, choose a model.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would repeat whatever host the client claims
        max_body_size=settings.max_body_bytes,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(QueryLimit, max_bytes=settings.max_query_bytes),
        ],
    )
    app.state.service = service
    app.state.access = service.access
    app.state.store, app.state.supervisor, app.state.settings = service.store, service.supervisor, settings
    problems.install(app)
    problems.describe(app)
    app.include_router(api.router)
    app.include_router(reference.router)
    _include_pages(app)
    return app


def _include_pages(app: FastAPI) -> None:
    """Add the web page, where it is installed."""
    if importlib.util.find_spec(_PAGES) is not None:
        from nas.service import pages

        app.include_router(pages.router)
        return

    @app.get("/", include_in_schema=False)
    def root(_request: Request) -> Response:
        return RedirectResponse("/docs")
