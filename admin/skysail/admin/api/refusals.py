"""From errors to answers: ``{"error": <kind>, "cause": <for people>}``; never a traceback of this process."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from skysail.topics.errors import DeployError, RejectedError, SkysailError

__all__ = ["handle_errors"]


def _refusal(error: SkysailError) -> Response:
    body = {"error": type(error).__name__, "cause": str(error)}
    if isinstance(error, DeployError) and error.worker_traceback is not None:
        # The worker's own words, for whoever deployed it.
        body |= {"cause": str(error).partition("\n")[0], "worker_traceback": error.worker_traceback}
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, RejectedError) else None
    return JSONResponse(body, error.status, headers)


def handle_errors(app: FastAPI) -> None:
    """Answer every error of the application."""

    @app.exception_handler(SkysailError)
    async def refuse(_: Request, error: SkysailError) -> Response:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": "BadInputError", "cause": problems}, 400)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        cause = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse({"error": str(error.detail), "cause": cause}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        # The server logs it with its traceback.
        body = {
            "error": "InternalError",
            "cause": f"unexpected {type(error).__name__}; see the log of the admin process",
        }
        return JSONResponse(body, 500)
