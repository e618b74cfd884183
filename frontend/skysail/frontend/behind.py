"""What stands in front of FastAPI for the routes that are not hot: bounded bodies, HEAD, X-Request-Id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from skysail.frontend.http import Receive, Request, Scope, Send, error_response, is_oip, respond
from skysail.topics.errors import SkysailError

__all__ = ["Behind"]

_log = structlog.get_logger(__name__)

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Behind:
    """The FastAPI application within bounds.

    Args:
        rest: the application.
        new_id: makes the request ids of those who sent none.
        max_body_bytes: larger requests get 413; FastAPI itself would read whatever comes.
    """

    def __init__(
        self, rest: Callable[[Scope, Receive, Send], Awaitable[None]], new_id: Callable[[], str], max_body_bytes: int
    ) -> None:
        self._rest = rest
        self._new_id = new_id
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope["headers"], self._new_id(), receive=receive)
        if scope["method"] not in _BODILESS:
            try:
                body = await request.read_body(self._max_body_bytes)
            except SkysailError as error:
                title = None if is_oip(scope["path"]) else "Request too large"
                await respond(send, error_response(error.status, title, str(error), request.answer_headers()))
                return
            receive = _replayed(body, receive)
        elif scope["method"] == "HEAD":  # probes like it, FastAPI does not know it; the server leaves the body out
            scope = {**scope, "method": "GET"}
        sender = _Sender(send, request.request_id)
        try:
            await self._rest(scope, receive, sender)
        except Exception:
            if not sender.started:
                raise
            # FastAPI has answered 500, and raises once more for the server's log.
            _log.exception("request_failed", method=scope["method"], path=scope["path"])


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return replay


class _Sender:
    """Sends an answer with the request's id."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self.started = False
        self._send = send
        self._request_id = (b"x-request-id", request_id)

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message.get("headers", ()), self._request_id]}
        await self._send(message)
