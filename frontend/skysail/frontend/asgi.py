"""The ASGI application: two hot routes in front, FastAPI behind them for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from skysail.frontend.clipper import ClipperPredict
from skysail.frontend.http import Receive, Scope, Send, respond_json
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.oip import OipInfer
from skysail.topics.client import PredictionClient

__all__ = ["Frontend"]

_SAVE_S = 1.0


class Frontend:
    """One frontend process.

    Args:
        client: started and closed with the application's lifespan.
        predict, infer: the hot routes.
        rest: everything else.
        metrics: saved once a second where several processes share a port.
        on_start, on_stop: called inside the event loop around its work.
    """

    def __init__(
        self,
        *,
        client: PredictionClient,
        predict: ClipperPredict,
        infer: OipInfer,
        rest: Callable[[Scope, Receive, Send], Awaitable[None]],
        metrics: FrontendMetrics,
        on_start: Callable[[], Awaitable[None]],
        on_stop: Callable[[], Awaitable[None]],
    ) -> None:
        self.client = client
        self._predict = predict
        self._infer = infer
        self._rest = rest
        self._metrics = metrics
        self._on_start = on_start
        self._on_stop = on_stop
        self._saving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch by path, cheapest look first."""
        kind = scope["type"]
        if kind == "http":
            path: str = scope["path"]
            if path.endswith(("/predict", "/predict/")):
                app = path[1:].rstrip("/")[:-8]
                if app and "/" not in app:
                    if scope["method"] == "POST":
                        await self._predict(app, scope, receive, send)
                    else:
                        await _refuse_method(scope, send)
                    return
            elif path.endswith("/infer") and path.startswith("/v2/models/"):
                parts = path.split("/")
                version = parts[5] if len(parts) == 7 and parts[4] == "versions" else None
                if version is not None or len(parts) == 5:
                    if scope["method"] == "POST":
                        await self._infer(parts[3], version, scope, receive, send)
                    else:
                        await _refuse_method(scope, send)
                    return
            await self._rest(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._on_start()
        except Exception as error:  # noqa: BLE001 - ASGI wants every failure to start said so
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._saving = asyncio.create_task(self._save())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._saving.cancel()
        self._metrics.save(0)
        await self._on_stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_S)
            self._metrics.save(self.client.in_flight)


async def _refuse_method(scope: Scope, send: Send) -> None:
    error = {"error": "Method not allowed", "cause": f"{scope['method']} is not allowed here; use POST"}
    await respond_json(send, 405, error, [(b"allow", b"POST")])
