"""How requests come off the socket and answers get onto it: uvicorn's protocol, with a short way for the hot routes.

uvicorn makes a scope, a cycle, an event and a task for each request, and hands an answer's head and body to the socket
one after the other, in a packet each. That is more than half of what a query costs here, so a POST to a hot route that
comes whole and is of moderate size goes past all that, and is answered in one write. Whatever is special about a
request (chunks, `Expect`, an upgrade, a query string, pipelining, another HTTP version) sends it the long way, where
only the two writes are joined: both ways lead to the same handlers.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from skysail.frontend.asgi import Frontend, Handler
from skysail.frontend.http import Response

__all__ = ["FrontendProtocol", "JoiningTransport"]

_HEAD, _INTERIM = b"HTTP/1.1 ", b"HTTP/1.1 1"
#: Larger bodies are read with flow control, and their own cost hides that of the long way.
_SHORT_WAY_BYTES = 64 * 1024
_HOT = (b"/predict", b"/infer")
#: Headers that want more than the short way does.
_SPECIAL = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class JoiningTransport:
    """A transport that keeps an answer's head until the first bytes of its body come, which every ASGI answer has."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write, or keep a head. An interim answer (100 Continue) has no body and goes out at once."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        elif data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Write what is kept, and close."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _ShortCycle:
    """A request on the short way; in what uvicorn's protocol looks at, like its own cycle."""

    __slots__ = ("body", "disconnected", "handler", "headers", "keep_alive", "path", "response_complete", "task")

    def __init__(self, handler: Handler, path: str, headers: dict[bytes, bytes]) -> None:
        self.handler = handler
        self.path = path
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None  # the event loop itself holds tasks weakly

    @property
    def message_event(self) -> _ShortCycle:
        """What uvicorn sets when the client goes away; nobody waits for it."""
        return self

    def set(self) -> None:
        """As an event's."""


class FrontendProtocol(HttpToolsProtocol):
    """One connection to a `Frontend`."""

    #: The head lines that uvicorn wants in each answer (the date, renewed once a second), and their bytes.
    _defaults: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        self._socket = transport
        self._frontend = cast("Frontend", self.app)
        self._heard_at = self.loop.time()
        self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop. A query in flight is computed all the same, for the cache."""
        self._idle_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._heard_at = self.loop.time()
        super().data_received(data)

    def _close_if_idle(self) -> None:
        """One timer for each connection, not for each request."""
        left_s = self._heard_at + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0 and self._is_idle():
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(
                left_s if left_s > 0 else self.timeout_keep_alive, self._close_if_idle
            )

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None at first, whatever its type says
        return cycle is None or cycle.response_complete

    # ------------------------------------------------------------------------------------------------ parser callbacks

    def on_message_begin(self) -> None:
        """What the long way alone needs is made when it is taken."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Choose the way."""
        if self.url.endswith(_HOT) and self._is_idle():
            headers = dict(self.headers)
            if self._is_plain(headers):
                path = self.url.decode("ascii")
                handler = self._frontend.find(path)
                if handler is not None:
                    self.cycle = cast("Any", _ShortCycle(handler, path, headers))
                    return
        url, given, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += given
        super().on_headers_complete()

    def _is_plain(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the request has nothing that only the long way knows."""
        length = headers.get(b"content-length", b"")
        parser = self.parser
        return (
            length.isdigit()
            and int(length) <= _SHORT_WAY_BYTES
            and _SPECIAL.isdisjoint(headers)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and self.url.isascii()
            and b"%" not in self.url
        )

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        cycle: Any = self.cycle
        if type(cycle) is _ShortCycle:
            cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it."""
        cycle: Any = self.cycle
        if type(cycle) is _ShortCycle:
            cycle.task = self.loop.create_task(self._answer(cycle))
        else:
            super().on_message_complete()

    # ------------------------------------------------------------------------------------------------ answers

    async def _answer(self, cycle: _ShortCycle) -> None:
        frontend = self._frontend
        request = frontend.new_request(cycle.headers, cycle.body)
        response = await frontend.answer(cycle.handler, request, cycle.path)
        cycle.response_complete = True
        if self._socket.is_closing():
            return
        self._socket.write(self._encoded(response, keep_alive=cycle.keep_alive))
        if not cycle.keep_alive:
            self._socket.close()
        self.on_response_complete()

    def _encoded(self, response: Response, *, keep_alive: bool) -> bytes:
        defaults = self.server_state.default_headers
        if FrontendProtocol._defaults[0] is not defaults:
            FrontendProtocol._defaults = (defaults, b"".join([b"%b: %b\r\n" % header for header in defaults]))
        return b"".join(
            (
                STATUS_LINE[response.status],
                FrontendProtocol._defaults[1],
                *[b"%b: %b\r\n" % header for header in response.headers],
                b"content-length: %d\r\n" % len(response.body),
                b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
                response.body,
            )
        )

    def on_response_complete(self) -> None:
        """Go on with what was pipelined."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._heard_at = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
