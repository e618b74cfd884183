"""Connections to the store, made alike everywhere, with bounded waits and one quick retry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from skysail.topics.errors import UnavailableError

__all__ = ["STORE_DOWN", "STORE_ERRORS", "Command", "PipelinedStore", "async_store", "sync_store", "unavailable"]

#: What redis-py raises while the store is away, or not yet ready (loading its file, read-only replica).
STORE_DOWN = (
    RedisConnectionError,
    RedisTimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    OSError,
)

#: Those, and what a store answers while it changes roles (UNBLOCKED, MASTERDOWN): who follows it for ever outlives all.
STORE_ERRORS = (RedisError, OSError)

Command = tuple[Any, ...]

_CONNECT_TIMEOUT_S = 1.0
_SOCKET_TIMEOUT_S = 5.0


def async_store(url: str, **options: Any) -> redis.asyncio.Redis:
    """An asyncio client; it connects on first use. Failures surface at once: callers decide whether to retry."""
    retry = redis.asyncio.retry.Retry(ExponentialBackoff(cap=0.1, base=0.01), 1)
    return redis.asyncio.Redis.from_url(url, retry=retry, **{**_bounds(url), **options})


def sync_store(url: str, **options: Any) -> redis.Redis:
    """A blocking client; it connects on first use."""
    retry = Retry(ExponentialBackoff(cap=0.1, base=0.01), 1)
    return redis.Redis.from_url(url, retry=retry, **{**_bounds(url), **options})


def _bounds(url: str) -> dict[str, Any]:
    bounds: dict[str, Any] = {"socket_connect_timeout": _CONNECT_TIMEOUT_S, "socket_timeout": _SOCKET_TIMEOUT_S}
    # A Unix socket has no keep-alive, and redis-py's connection to one refuses the option.
    return bounds if url.startswith("unix:") else {**bounds, "socket_keepalive": True}


class PipelinedStore:
    """One blocking connection that sends many commands in one write and reads the answers in one go.

    redis-py's pipeline object costs more Python per command than the data path can give; its connection (URL, TLS,
    authentication, parser) is used as it is. One thread at a time owns it.
    """

    def __init__(self, url: str) -> None:
        self._pool = sync_store(url).connection_pool
        self._connection: Any = None

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` and return their answers, in order; an error answer is returned as a `ResponseError`.

        Raises:
            UnavailableError: when the store is away; none, some or all of the commands may have run.
        """
        try:
            connection = self._connection or self._connect()
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [self._read(connection) for _ in commands]
        except (*STORE_DOWN, ResponseError) as error:  # the latter refuses the user or the database
            self.close()
            message = f"the store is away: {error}"
            raise UnavailableError(message) from error

    def _connect(self) -> Any:
        connection: Any = self._pool.make_connection()
        connection.connect()
        self._connection = connection
        return connection

    @staticmethod
    def _read(connection: Any) -> Any:
        try:
            return connection.read_response()
        except STORE_DOWN:
            raise
        except ResponseError as error:
            return error

    def close(self) -> None:
        """Drop the connection; the next `execute` makes a new one."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None


def unavailable(error: RedisError | OSError) -> UnavailableError:
    """The error that callers see while the store is away."""
    return UnavailableError(f"the store is away: {error}")
