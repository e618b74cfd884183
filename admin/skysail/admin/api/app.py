"""The admin process's FastAPI application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from skysail.admin.api.clipper import clipper_router
from skysail.admin.api.operations import operations_router
from skysail.admin.api.refusals import handle_errors
from skysail.admin.api.rest import rest_router
from skysail.admin.service import AdminService
from skysail.topics import __version__

__all__ = ["admin_application"]

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_ABOUT = """What is deployed, and how to change it.

`/admin/*` is Clipper's management API; `/api/v1/*` is Skysail's own. Refusals of the latter are
`{"error": …, "cause": …}` with the status that fits: 400, 404, 409, 413, or 503 while broker or store is away.
"""


def admin_application(service: AdminService, lifespan: Lifespan) -> FastAPI:
    """All routes of port 1338."""
    app = FastAPI(title="Skysail admin", version=__version__, description=_ABOUT, lifespan=lifespan)
    app.include_router(rest_router(service))
    app.include_router(clipper_router(service))
    app.include_router(operations_router(service))
    handle_errors(app)
    return app
