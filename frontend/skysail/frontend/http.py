"""The little of HTTP that the hot routes need: read a body within bounds, answer with bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from skysail.topics.errors import PayloadTooLargeError, SkysailError

__all__ = [
    "ClientDisconnectedError",
    "Headers",
    "Receive",
    "Scope",
    "Send",
    "find_header",
    "read_body",
    "respond",
    "respond_json",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON_TYPE = (b"content-type", b"application/json")


class ClientDisconnectedError(SkysailError):
    """Raised when the client has gone before its request was read: there is nobody to answer."""

    status = 499


def find_header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that (lower-case) name."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole request body.

    Raises:
        PayloadTooLargeError: by the Content-Length at once, else as soon as more than `limit` bytes have come.
        ClientDisconnectedError: when the client goes away meanwhile.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and message["type"] == "http.request":
        if len(body) > limit:
            raise _too_large(limit)
        return body
    declared = find_header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks, size = [body], len(body)
    while message["type"] != "http.disconnect" and message.get("more_body", False):
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
    if message["type"] == "http.disconnect":
        text = "the client went away"
        raise ClientDisconnectedError(text)
    return b"".join(chunks)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the request body is larger than {limit} bytes")


async def respond(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = (_JSON_TYPE,)) -> None:
    """Answer with `body`; `headers` name its type."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, status: int, value: object, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with a JSON value."""
    await respond(send, status, msgspec.json.encode(value), [_JSON_TYPE, *headers])
