"""The store's asyncio end on the hot path: one connection, commands pipelined, answers in order.

redis-py's asyncio client costs about 150 µs of Python for each command, more than the rest of a query together; this
channel speaks RESP2 through hiredis and leaves everything that is not on the hot path to redis-py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import hiredis
import redis.asyncio

from skysail.topics.errors import UnavailableError
from skysail.topics.store.connection import Command

__all__ = ["StoreChannel"]


class StoreChannel(asyncio.Protocol):
    """A pipelined connection to the store at `url` (``redis://``, ``rediss://`` or ``unix://``).

    `connect` before use. When the connection drops, every waiting command fails with `UnavailableError`, and so does
    every new one until `connect` is called again.
    """

    def __init__(self, url: str, connect_timeout_s: float = 1.0) -> None:
        self._options = redis.asyncio.connection.parse_url(url)
        self._connect_timeout_s = connect_timeout_s
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()

    @property
    def connected(self) -> bool:
        """Whether commands can be sent now."""
        return self._transport is not None

    async def connect(self) -> None:
        """Connect, authenticate and choose the database.

        Raises:
            UnavailableError: when the store does not answer in time or refuses.
        """
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._open()
                for command in self._greeting():
                    await self.execute(command)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            self.close()
            message = f"the store is away: {str(error) or 'no answer in time'}"
            raise UnavailableError(message) from error

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = dict(self._options)
        if "path" in options:
            await loop.create_unix_connection(lambda: self, options["path"])
            return
        tls = self._tls_context(options)
        await loop.create_connection(lambda: self, options.get("host", "localhost"), options.get("port", 6379), ssl=tls)

    @staticmethod
    def _tls_context(options: dict[str, Any]) -> Any:
        """The SSL context that redis-py itself would use for the same URL; None without TLS."""
        kind = options.get("connection_class")
        if kind is not redis.asyncio.SSLConnection:
            return None
        arguments = {name: value for name, value in options.items() if name != "connection_class"}
        return redis.asyncio.SSLConnection(**arguments).ssl_context.get()

    def _greeting(self) -> list[Command]:
        options: dict[str, Any] = dict(self._options)
        commands: list[Command] = []
        if options.get("password"):
            user = (options["username"],) if options.get("username") else ()
            commands.append(("AUTH", *user, options["password"]))
        if options.get("db"):
            commands.append(("SELECT", options["db"]))
        commands.append(("PING",))
        return commands

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._reader = hiredis.Reader()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: hand each whole answer to the command that waits longest."""
        reader = self._reader
        reader.feed(data)
        waiting = self._waiting
        answer = reader.gets()
        while answer is not False:
            future = waiting.popleft()
            if not future.done():
                if isinstance(answer, hiredis.ReplyError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            answer = reader.gets()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: fail everything that waits."""
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        message = f"the store is away: {exc or 'connection closed'}"
        for future in waiting:
            if not future.done():
                future.set_exception(UnavailableError(message))

    def execute(self, command: Command) -> asyncio.Future[Any]:
        """Send one command; the future has its answer, or `hiredis.ReplyError` when the store says no.

        Raises:
            UnavailableError: when not connected.
        """
        if self._transport is None:
            message = "the store is away: not connected"
            raise UnavailableError(message)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(hiredis.pack_command(command))
        return future

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
