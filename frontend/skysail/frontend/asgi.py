"""The ASGI application: two hot routes in front, FastAPI behind them for everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from skysail.frontend.behind import Behind
from skysail.frontend.clipper import ClipperPredict
from skysail.frontend.failures import INTERNAL
from skysail.frontend.http import Receive, Request, Scope, Send, is_oip, respond_error
from skysail.frontend.oip import OipInfer

__all__ = ["Frontend"]

_log = structlog.get_logger(__name__)


class Frontend:
    """One frontend process, as the server sees it.

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with JSON whatever happens."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        try:
            await self._dispatch(scope, receive, send)
        except Exception:  # noqa: BLE001 - a fault of ours: its traceback is for the log, never for the client
            _log.exception("request_failed", method=scope["method"], path=scope["path"])
            title, cause = INTERNAL
            headers = Request(scope, self._new_id()).answer_headers()
            await respond_error(send, 500, None if is_oip(scope["path"]) else title, cause, headers)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """By path, cheapest look first."""
        path: str = scope["path"]
        if path.endswith(("/predict", "/predict/")):
            app = path[1:].rstrip("/")[:-8]
            if app and "/" not in app:
                if scope["method"] == "POST":
                    await self._predict(app, scope, receive, send)
                else:
                    await self._refuse_method(scope, send)
                return
        elif path.endswith("/infer") and path.startswith("/v2/models/"):
            parts = path.split("/")
            version = parts[5] if len(parts) == 7 and parts[4] == "versions" else None
            if version is not None or len(parts) == 5:
                if scope["method"] == "POST":
                    await self._infer(parts[3], version, scope, receive, send)
                else:
                    await self._refuse_method(scope, send)
                return
        await self._rest(scope, receive, send)

    async def _refuse_method(self, scope: Scope, send: Send) -> None:
        title = None if is_oip(scope["path"]) else "Method not allowed"
        headers = Request(scope, self._new_id()).answer_headers((b"allow", b"POST"))
        await respond_error(send, 405, title, f"{scope['method']} is not allowed here: use POST", headers)

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
