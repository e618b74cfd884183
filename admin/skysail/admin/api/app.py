"""The admin process's FastAPI application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import REGISTRY, generate_latest
from starlette.exceptions import HTTPException

from skysail.admin.api.clipper import clipper_router
from skysail.admin.api.rest import rest_router
from skysail.admin.service import AdminService
from skysail.topics import __version__
from skysail.topics.errors import DeployError, RejectedError, SkysailError
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["admin_application"]

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def admin_application(service: AdminService, workers: WorkerDirectory, lifespan: Lifespan) -> FastAPI:
    """All routes of port 1338."""
    app = FastAPI(title="Skysail admin", version=__version__, lifespan=lifespan)
    app.include_router(clipper_router(service, workers))
    app.include_router(rest_router(service, workers))
    _handle_errors(app)

    @app.get("/livez", tags=["operations"])
    def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @app.get("/readyz", tags=["operations"])
    async def ready() -> dict[str, bool]:
        """Whether the registry can be read; 503 says why not."""
        await service.registry.snapshot()
        return {"ready": True}

    @app.get("/metrics", tags=["operations"])
    def metrics() -> Response:
        """Prometheus metrics of this process."""
        return Response(generate_latest(REGISTRY), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(SkysailError)
    async def refuse(_: Request, error: SkysailError) -> Response:
        body = {"error": type(error).__name__, "cause": str(error)}
        if isinstance(error, DeployError) and error.worker_traceback:
            body = {**body, "cause": str(error).split("\n", 1)[0], "worker_traceback": error.worker_traceback}
        headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, RejectedError) else None
        return JSONResponse(body, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": "BadInputError", "cause": problems}, 400)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        cause = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse({"error": str(error.detail), "cause": cause}, error.status_code, error.headers)
