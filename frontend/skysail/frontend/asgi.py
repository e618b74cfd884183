"""The application: two hot routes in front, FastAPI behind them for everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from skysail.frontend.behind import Behind
from skysail.frontend.clipper import ClipperPredict
from skysail.frontend.failures import INTERNAL
from skysail.frontend.http import Receive, Request, Response, Scope, Send, error_response, is_oip, respond
from skysail.frontend.oip import OipInfer

__all__ = ["Frontend"]

_log = structlog.get_logger(__name__)

#: Paths whose handlers are remembered.
_MOST_PATHS = 1024
#: Answers a request of a hot route.
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Frontend:
    """One frontend process, as the server sees it: an ASGI application whose hot routes can be called directly as well.

    Args:
        predict, infer: the hot routes.
        rest: everything else.
        new_id: makes the request ids of those who sent none.
        on_start, on_stop: called inside the event loop around its work.
    """

    def __init__(
        self,
        *,
        predict: ClipperPredict,
        infer: OipInfer,
        rest: Behind,
        new_id: Callable[[], str],
        on_start: Callable[[], Awaitable[None]],
        on_stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._predict = predict
        self._infer = infer
        self._rest = rest
        self._new_id = new_id
        self._on_start = on_start
        self._on_stop = on_stop
        self._handlers: dict[str, Handler] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with JSON whatever happens."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path: str = scope["path"]
        handler = self.find(path)
        if handler is not None:
            request = Request(scope["headers"], self._new_id(), receive=receive)
            await respond(send, await self.answer(handler, request, path, scope["method"]))
            return
        try:
            await self._rest(scope, receive, send)
        except Exception:  # noqa: BLE001 - as in `answer`
            await respond(send, self._fault(path, Request(scope["headers"], self._new_id())))

    def find(self, path: str) -> Handler | None:
        """The hot route that a path belongs to."""
        handler = self._handlers.get(path)
        if handler is None:
            handler = self._handler(path)
            if handler is not None:
                if len(self._handlers) >= _MOST_PATHS:  # somebody makes them up
                    self._handlers.clear()
                self._handlers[path] = handler
        return handler

    def _handler(self, path: str) -> Handler | None:
        if path.endswith(("/predict", "/predict/")):
            app = path[1:].rstrip("/")[:-8]
            if app and "/" not in app:
                return partial(self._predict, app)
        elif path.endswith("/infer") and path.startswith("/v2/models/"):
            parts = path.split("/")
            if len(parts) == 5:
                return partial(self._infer, parts[3], None)
            if len(parts) == 7 and parts[4] == "versions":
                return partial(self._infer, parts[3], parts[5])
        return None

    async def answer(self, handler: Handler, request: Request, path: str, method: str = "POST") -> Response:
        """What a hot route says to a request, with JSON whatever happens. Never raises."""
        if method != "POST":
            title = None if is_oip(path) else "Method not allowed"
            headers = request.answer_headers((b"allow", b"POST"))
            return error_response(405, title, f"{method} is not allowed here: use POST", headers)
        try:
            return await handler(request)
        except Exception:  # noqa: BLE001 - a fault of ours: its traceback is for the log, never for the client
            return self._fault(path, request)

    @staticmethod
    def _fault(path: str, request: Request) -> Response:
        _log.exception("request_failed", path=path)
        title, cause = INTERNAL
        return error_response(500, None if is_oip(path) else title, cause, request.answer_headers())

    def new_request(self, headers: dict[bytes, bytes], body: bytes) -> Request:
        """A request that has come as a whole."""
        return Request(headers, self._new_id(), body)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._on_start()
        except Exception as error:  # noqa: BLE001 - ASGI wants every failure to start told
            _log.exception("not_started")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._on_stop()
        await send({"type": "lifespan.shutdown.complete"})
