"""Everything that is not hot, in FastAPI: feedback, metadata, health, metrics, documentation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from skysail.frontend.failures import INTERNAL, error_title, retry_after
from skysail.frontend.feedback import Feedback
from skysail.frontend.http import is_oip
from skysail.frontend.metadata import Metadata
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.openapi import FEEDBACK_BODY, with_hot_routes
from skysail.topics import __version__
from skysail.topics.client import PredictionClient
from skysail.topics.errors import SkysailError

__all__ = ["rest_application"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OIP = "Open Inference Protocol"
_DEPLOYED = "models are loaded and unloaded by deploying them: see the skysail command or the admin API"


def rest_application(
    client: PredictionClient, metadata: Metadata, feedback: Feedback, metrics: FrontendMetrics
) -> FastAPI:
    """The FastAPI application behind the hot routes."""
    app = FastAPI(title="Skysail", version=__version__, description="Predictions through a message broker.")
    _handle_errors(app)
    _add_health(app, metadata)
    _add_models(app, metadata)
    _add_repository(app, metadata)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    async def scrape() -> Response:
        """Prometheus metrics, of all processes of this port."""
        # On the event loop: it is milliseconds, and a thread would meet the counters while they change.
        return Response(metrics.render(client.in_flight), media_type=_METRICS_TYPE)

    @app.post("/{app_name}/update", tags=["Clipper"], response_class=PlainTextResponse, openapi_extra=FEEDBACK_BODY)
    async def update(app_name: str, request: Request) -> str:
        """Take feedback on a prediction; answered when the broker has stored it."""
        await feedback.take(app_name, await request.body())
        return "Feedback received? 1"

    slashed = "/{app_name}/update/"
    app.add_api_route(slashed, update, methods=["POST"], response_class=PlainTextResponse, include_in_schema=False)
    app.openapi = lambda: with_hot_routes(FastAPI.openapi(app))  # type: ignore[method-assign]
    return app


def _add_health(app: FastAPI, metadata: Metadata) -> None:
    @app.get("/livez", tags=["operations"])
    async def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @app.get("/readyz", tags=["operations"])
    async def ready() -> Response:
        """Whether queries can be answered; 503 names what is away."""
        missing = metadata.missing()
        if missing:
            body = {"ready": False, "error": f"not available: {', '.join(missing)}"}
            return JSONResponse(body, 503, {"Retry-After": "1"})
        return JSONResponse({"ready": True})

    app.add_api_route("/v2/health/live", live, methods=["GET"], tags=[_OIP])
    app.add_api_route("/v2/health/ready", ready, methods=["GET"], tags=[_OIP], response_model=None)
    app.add_api_route("/healthz", ready, methods=["GET"], tags=["operations"], response_model=None)


def _add_models(app: FastAPI, metadata: Metadata) -> None:
    @app.get("/v2", tags=[_OIP])
    async def server() -> dict[str, Any]:
        """Server metadata."""
        return metadata.server()

    @app.get("/v2/models", tags=[_OIP])
    async def models() -> dict[str, list[str]]:
        """Names of all models."""
        return {"models": metadata.names()}

    @app.get("/v2/models/{name}", tags=[_OIP])
    @app.get("/v2/models/{name}/versions/{version}", tags=[_OIP])
    async def model(name: str, version: str | None = None) -> dict[str, Any]:
        """A model's metadata."""
        return metadata.model(name, version)

    @app.get("/v2/models/{name}/ready", tags=[_OIP])
    @app.get("/v2/models/{name}/versions/{version}/ready", tags=[_OIP])
    async def model_ready(name: str, version: str | None = None) -> Response:
        """Whether a worker answers for the model; 503 when none does."""
        ready = await metadata.ready(name, version)
        return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)


def _add_repository(app: FastAPI, metadata: Metadata) -> None:
    @app.post("/v2/repository/index", tags=[_OIP])
    async def index(body: Annotated[dict[str, Any] | None, Body()] = None) -> list[dict[str, str]]:
        """All versions and whether they are ready."""
        return await metadata.index(only_ready=(body or {}).get("ready") is True)

    @app.post("/v2/repository/models/{name}/load", tags=[_OIP])
    @app.post("/v2/repository/models/{name}/unload", tags=[_OIP])
    async def load(name: str) -> Response:
        """501: models are deployed, not loaded."""
        return JSONResponse({"error": f"model {name!r}: {_DEPLOYED}"}, 501)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(SkysailError)
    async def refuse(request: Request, error: SkysailError) -> Response:
        headers = {name.decode(): value.decode() for name, value in retry_after(error.status, error)}
        return JSONResponse(_body(request, error_title(error), str(error)), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse(_body(request, "Json error", problems), 400)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        cause = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(_body(request, str(error.detail), cause), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        del error  # for the log, never for the client
        return JSONResponse(_body(request, *INTERNAL), 500)


def _body(request: Request, title: str, cause: str) -> dict[str, str]:
    return {"error": cause} if is_oip(request.url.path) else {"error": title, "cause": cause}
