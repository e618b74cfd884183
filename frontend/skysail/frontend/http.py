"""The little of HTTP that the hot routes need: read a body within bounds, answer with bytes, tell errors apart."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter
from typing import Any

import msgspec

from skysail.topics.errors import PayloadTooLargeError, SkysailError

__all__ = [
    "DISCONNECTED",
    "JSON_TYPE",
    "ClientDisconnectedError",
    "Headers",
    "Receive",
    "Request",
    "Response",
    "Scope",
    "Send",
    "error_response",
    "is_oip",
    "respond",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
#: nginx's status for a client that did not wait; it is counted, never sent.
DISCONNECTED = 499

#: What is echoed must be fit for a header and for a log line.
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
#: W3C Trace Context, level 1; anything else is to be ignored.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: Longer causes quote what the client sent; it knows that already.
_LONGEST_CAUSE = 2000


class ClientDisconnectedError(SkysailError):
    """Raised when the client has gone before its request was read: there is nobody to answer."""

    status = DISCONNECTED


class Response:
    """An answer; its length is not yet among the headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class Request:
    """What every route wants to know of a request.

    Attributes:
        started: `perf_counter` seconds at its arrival.
        headers: by lower-case name; of one that is repeated, the last.
        query_id: of its first query.
        request_id: the client's `X-Request-Id`, else the query id.

    Args:
        body: where it has come already.
        receive: where it has not.
    """

    __slots__ = ("_body", "_receive", "headers", "query_id", "request_id", "started")

    def __init__(
        self,
        headers: Iterable[tuple[bytes, bytes]] | dict[bytes, bytes],
        query_id: str,
        body: bytes | None = None,
        receive: Receive | None = None,
    ) -> None:
        self.started = perf_counter()
        self.headers: dict[bytes, bytes] = headers if type(headers) is dict else dict(headers)
        self.query_id = query_id
        self.request_id = query_id.encode()
        if b"x-request-id" in self.headers and _REQUEST_ID.fullmatch(self.headers[b"x-request-id"]):
            self.request_id = self.headers[b"x-request-id"]
        self._body = body
        self._receive = receive

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context, where a valid one was sent."""
        given = self.headers.get(b"traceparent")
        return given.decode() if given is not None and _TRACEPARENT.fullmatch(given) else None

    @property
    def elapsed_s(self) -> float:
        """Since its arrival."""
        return perf_counter() - self.started

    def answer_headers(self, *more: tuple[bytes, bytes], kind: tuple[bytes, bytes] = JSON_TYPE) -> Headers:
        """Headers of an answer that no worker gave."""
        timing = b"total;dur=%.3f" % (self.elapsed_s * 1e3)
        return [kind, *more, (b"x-request-id", self.request_id), (b"server-timing", timing)]

    async def read_body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            PayloadTooLargeError: by the Content-Length at once, else as soon as more than `limit` bytes have come.
            ClientDisconnectedError: when the client goes away meanwhile.
        """
        body = self._body
        if body is None:
            body = await self._received_body(limit)
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _received_body(self, limit: int) -> bytes:
        receive = self._receive
        declared = self.headers.get(b"content-length")
        # The server counts what really comes; this refuses before anything has, so that a client may save itself the
        # rest.
        if declared is not None and declared.isdigit() and int(declared[:20]) > limit:
            raise _too_large(limit)
        if receive is None:
            return b""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] != "http.request" or message.get("more_body", False):
            body = await _read_rest(message, body, receive, limit)
        return body


async def _read_rest(message: MutableMapping[str, Any], body: bytes, receive: Receive, limit: int) -> bytes:
    chunks, size = [body], len(body)
    while message["type"] != "http.disconnect" and message.get("more_body", False):
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if message["type"] == "http.disconnect":
        text = "the client went away"
        raise ClientDisconnectedError(text)
    return b"".join(chunks)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the request body is larger than {limit} bytes")


async def respond(send: Send, response: Response) -> None:
    """Send an answer; to a client that has gone, nothing."""
    if response.status == DISCONNECTED:
        return
    headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def is_oip(path: str) -> bool:
    """Whether a path belongs to the Open Inference Protocol, whose errors have one field; Clipper's have two."""
    return path.startswith("/v2/") or path == "/v2"


def error_response(status: int, title: str | None, cause: str, headers: Headers) -> Response:
    """``{"error": title, "cause": cause}``, or without a title ``{"error": cause}``."""
    shown = cause if len(cause) <= _LONGEST_CAUSE else f"{cause[:_LONGEST_CAUSE]}…"
    body = {"error": shown} if title is None else {"error": title, "cause": shown}
    return Response(status, msgspec.json.encode(body), headers)
