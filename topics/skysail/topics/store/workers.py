"""Heartbeats of workers, and who is alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import redis.asyncio

from skysail.topics.names import KeyNames
from skysail.topics.specs import WorkerHeartbeat, WorkerState, decode_spec, encode_spec
from skysail.topics.store.connection import STORE_ERRORS, Command, unavailable

__all__ = ["HEARTBEAT_TTL_S", "WorkerDirectory", "farewell_commands", "heartbeat_commands"]

#: A worker that was silent for so long is gone.
HEARTBEAT_TTL_S = 10


def heartbeat_commands(keys: KeyNames, heartbeat: WorkerHeartbeat) -> list[Command]:
    """What a worker writes, about once a second."""
    return [
        ("SET", keys.worker(heartbeat.worker_id), encode_spec(heartbeat), "EX", HEARTBEAT_TTL_S),
        ("ZADD", keys.workers, heartbeat.sent_ms, heartbeat.worker_id),
    ]


def farewell_commands(keys: KeyNames, worker_id: str) -> list[Command]:
    """What a worker writes when it leaves in good order."""
    return [("DEL", keys.worker(worker_id)), ("ZREM", keys.workers, worker_id)]


class WorkerDirectory:
    """Reads heartbeats."""

    def __init__(
        self,
        store: redis.asyncio.Redis,
        keys: KeyNames,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._keys = keys
        self._now_ms = now_ms

    async def alive(self, model: str | None = None, version: str | None = None) -> list[WorkerHeartbeat]:
        """Workers heard of lately, oldest id first, of one model or version where named.

        Raises:
            UnavailableError: when the store is away.
        """
        oldest = self._now_ms() - HEARTBEAT_TTL_S * 1000
        try:
            async with self._store.pipeline(transaction=False) as pipe:
                pipe.zremrangebyscore(self._keys.workers, 0, oldest - HEARTBEAT_TTL_S * 1000)
                pipe.zrangebyscore(self._keys.workers, oldest, "+inf")
                ids = sorted((await pipe.execute())[1])
            values = await self._store.mget([self._keys.worker(worker_id.decode()) for worker_id in ids]) if ids else []
        except STORE_ERRORS as error:
            raise unavailable(error) from error
        heartbeats = [decode_spec(WorkerHeartbeat, cast("bytes", value)) for value in values if value is not None]
        return [beat for beat in heartbeats if model in (None, beat.model) and version in (None, beat.version)]

    async def ready(self, model: str, version: str) -> list[WorkerHeartbeat]:
        """Workers of a version that answer queries now."""
        return [beat for beat in await self.alive(model, version) if beat.state is WorkerState.READY]
