"""Everything that is not hot, in FastAPI: feedback, metadata, health, metrics, documentation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from skysail.frontend.feedback import Feedback, FeedbackBody
from skysail.frontend.metadata import Metadata
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.openapi import with_hot_routes
from skysail.topics import __version__
from skysail.topics.client import PredictionClient
from skysail.topics.errors import RejectedError, SkysailError

__all__ = ["rest_application"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def rest_application(
    client: PredictionClient, metadata: Metadata, feedback: Feedback, metrics: FrontendMetrics
) -> FastAPI:
    """The FastAPI application behind the hot routes."""
    app = FastAPI(title="Skysail", version=__version__, description="Predictions through a message broker.")
    _handle_errors(app)
    _add_health(app, metadata)
    _add_models(app, metadata)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    def scrape() -> Response:
        """Prometheus metrics, of all processes of this port."""
        return Response(metrics.render(client.in_flight), media_type=_METRICS_TYPE)

    @app.post("/{app_name}/update", tags=["Clipper"], response_class=PlainTextResponse)
    async def update(app_name: str, body: FeedbackBody) -> str:
        """Take feedback on a prediction; answered when the broker has stored it."""
        await feedback.take(app_name, body)
        return "Feedback received? 1"

    app.add_api_route("/{app_name}/update/", update, methods=["POST"], include_in_schema=False)
    app.openapi = lambda: with_hot_routes(FastAPI.openapi(app))  # type: ignore[method-assign]
    return app


def _add_health(app: FastAPI, metadata: Metadata) -> None:
    @app.get("/livez", tags=["operations"])
    def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @app.get("/readyz", tags=["operations"])
    def ready() -> Response:
        """Whether queries can be answered; 503 names what is away."""
        missing = metadata.missing()
        if missing:
            body = {"ready": False, "error": f"not available: {', '.join(missing)}"}
            return JSONResponse(body, 503, {"Retry-After": "1"})
        return JSONResponse({"ready": True})

    app.add_api_route("/v2/health/live", live, methods=["GET"], tags=["Open Inference Protocol"])
    app.add_api_route("/v2/health/ready", ready, methods=["GET"], tags=["Open Inference Protocol"], response_model=None)
    app.add_api_route("/healthz", ready, methods=["GET"], tags=["operations"], response_model=None)


def _add_models(app: FastAPI, metadata: Metadata) -> None:
    tag = "Open Inference Protocol"

    @app.get("/v2", tags=[tag])
    def server() -> dict[str, Any]:
        """Server metadata."""
        return metadata.server()

    @app.get("/v2/models", tags=[tag])
    def models() -> dict[str, list[str]]:
        """Names of all models."""
        return {"models": metadata.names()}

    @app.get("/v2/models/{name}", tags=[tag])
    @app.get("/v2/models/{name}/versions/{version}", tags=[tag])
    def model(name: str, version: str | None = None) -> dict[str, Any]:
        """A model's metadata."""
        return metadata.model(name, version)

    @app.get("/v2/models/{name}/ready", tags=[tag])
    @app.get("/v2/models/{name}/versions/{version}/ready", tags=[tag])
    async def model_ready(name: str, version: str | None = None) -> Response:
        """Whether a worker answers for the model; 503 when none does."""
        ready = await metadata.ready(name, version)
        return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)

    @app.post("/v2/repository/index", tags=[tag])
    async def index(body: Annotated[dict[str, Any] | None, Body()] = None) -> list[dict[str, str]]:
        """All versions and whether they are ready."""
        return await metadata.index(only_ready=bool((body or {}).get("ready")))


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(SkysailError)
    async def refuse(request: Request, error: SkysailError) -> Response:
        headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, RejectedError) else None
        return JSONResponse(_body(request, "Error", str(error)), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse(_body(request, "Json error", problems), 400)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        cause = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(_body(request, str(error.detail), cause), error.status_code, error.headers)


def _body(request: Request, title: str, cause: str) -> dict[str, str]:
    """OIP has one field, Clipper two."""
    return {"error": cause} if request.url.path.startswith("/v2") else {"error": title, "cause": cause}
