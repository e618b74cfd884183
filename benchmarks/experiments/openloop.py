"""An open loop: requests leave at a constant rate whatever becomes of those before, over keep-alive connections.

A closed loop slows down with the server it measures (coordinated omission). Here the latency of a request counts from
the moment at which it was due.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

from tests.waiting import NotReachedError, wait_until_async

__all__ = ["Answer", "http_request", "offer"]

_TICK_S = 0.001
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True)
class Answer:
    """One request: seconds after the start at which it was due, how long its answer took, its status (0: none came)."""

    due_s: float
    latency_s: float
    status: int
    head: bytes = b""


def http_request(path: str, body: bytes) -> bytes:
    """A POST of JSON."""
    lines = (f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def offer(
    address: tuple[str, int],
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    patience_s: float = 5.0,
    *,
    heads: bool = False,
) -> list[Answer]:
    """Send `requests` in turn, `rate` a second.

    Args:
        address: host and port.
        requests: whole, from `http_request`.
        rate: per second.
        seconds: how long to send.
        patience_s: how long to wait for the last answers.
        heads: keep the heads of the answers.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Load(address, requests, heads=heads).run(rate, seconds, patience_s))


class _Load:
    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], *, heads: bool) -> None:
        self._address = address
        self._requests = requests
        self.heads = heads
        self.answers: list[Answer] = []
        self.idle: list[_Channel] = []
        self._open: list[_Channel] = []
        self._opening: set[asyncio.Task[None]] = set()
        self.start_s = 0.0

    async def run(self, rate: float, seconds: float, patience_s: float) -> list[Answer]:
        loop = asyncio.get_running_loop()
        self.start_s = loop.time()
        sent, total = 0, int(rate * seconds)
        while sent < total:
            due = min(total, int((loop.time() - self.start_s) * rate) + 1)
            for number in range(sent, due):
                self._send(number, number / rate)
            sent = due
            await asyncio.sleep(_TICK_S)
        with contextlib.suppress(NotReachedError):
            await wait_until_async(lambda: len(self.answers) >= total, patience_s, "every answer")
        for channel in self._open:
            channel.close()
        if len(self.answers) != total:
            message = f"{total} requests were due, {len(self.answers)} are accounted for"
            raise RuntimeError(message)
        return sorted(self.answers, key=lambda answer: answer.due_s)

    def _send(self, number: int, due_s: float) -> None:
        request = self._requests[number % len(self._requests)]
        while self.idle:
            channel = self.idle.pop()
            if channel.ask(request, due_s):
                return
        task = asyncio.get_running_loop().create_task(self._connect(request, due_s))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, request: bytes, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, channel = await loop.create_connection(lambda: _Channel(self), *self._address)
        except OSError:
            self.answers.append(Answer(due_s, loop.time() - self.start_s - due_s, 0))
            return
        self._open.append(channel)
        channel.ask(request, due_s)


class _Channel(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._due_s: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are none of asyncio's classes

    def ask(self, request: bytes, due_s: float) -> bool:
        """Send; False when the server has closed the connection."""
        if self._transport is None:
            return False
        self._due_s = due_s
        self._transport.write(request)
        return True

    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        end = self._data.find(_END)
        if end < 0:
            return
        head = self._data[:end]
        lowered = head.lower()
        at = lowered.find(_LENGTH)
        length = int(lowered[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._data) >= end + len(_END) + length:
            self._data = b""
            self._answered(int(head[9:12]), head)
            self._load.idle.append(self)

    def _answered(self, status: int, head: bytes = b"") -> None:
        if self._due_s is not None:
            latency_s = self._loop.time() - self._load.start_s - self._due_s
            self._load.answers.append(Answer(self._due_s, latency_s, status, head if self._load.heads else b""))
            self._due_s = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._answered(0)

    def close(self) -> None:
        self._answered(0)
        if self._transport is not None:
            self._transport.abort()
