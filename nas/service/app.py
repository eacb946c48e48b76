"""The application: routes, errors, limits and headers, around the service's state."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from nas.service import api, pages, problems
from nas.service.access import refuse_other_sites
from nas.service.assets import ASSETS
from nas.service.middleware import add_prefix, add_security_headers, limit_address
from nas.service.rendering import answer_problem
from nas.service.settings import Settings
from nas.service.state import State

_GZIP_LEVEL = 5  # plotly.js in 0.12 s to 1.48 MB; level 9 needs 0.23 s for 1 % less
_NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")  # weights don't shrink


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Its state holds ``service`` and ``access``.

    Raises:
        ServiceError: the database can't be opened.
    """
    service = State(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.supervisor.begin)
        service.warm()
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
        dependencies=[Depends(refuse_other_sites)],
        max_body_size=settings.max_body_bytes,
        middleware=[
            Middleware(add_security_headers),
            Middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.proxies)),
            Middleware(add_prefix, root=settings.root_path),
            Middleware(limit_address, max_bytes=settings.max_query_bytes),
            Middleware(GZipMiddleware, compresslevel=_GZIP_LEVEL, exclude_content_types=_NOT_COMPRESSED),
        ],
    )
    app.state.service = service
    app.state.access = service.access
    problems.install(app, answer_problem, service.settings.runs)
    problems.describe(app)
    app.include_router(api.open_router)
    app.include_router(api.router)
    app.include_router(pages.open_router)
    app.include_router(pages.router)
    app.mount("/static", ASSETS)
    return app
