"""The prediction cache: answers by a digest of their input, in the process first, in the store behind it.

A key covers model, version, content type, wanted answer type and the canonical payload, by BLAKE2b with 128 bits: wide
enough that two inputs do not share an answer (Clipper kept a 64-bit hash and did not compare the input).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, TypeVar

from skysail.topics.errors import UnavailableError
from skysail.topics.payloads import JSON
from skysail.topics.records import Query
from skysail.topics.store.channel import StoreChannel
from skysail.topics.store.connection import Command

__all__ = ["CachedAnswer", "LocalCache", "SharedCache", "cache_digest", "cache_store_command"]

K = TypeVar("K")

#: The outputs as a reply holds them, and whether they are a tensor payload.
CachedAnswer = tuple[bytes, bool]

_ENTRY_OVERHEAD_BYTES = 200


def cache_digest(query: Query) -> bytes:
    """16 bytes over content types and payload. Model and version are in the key's prefix."""
    kind = 0 if query.content_type is JSON or query.content_type == JSON else 1
    if query.accept != JSON:
        kind += 2
    if query.rows is None:
        kind += 4
    return blake2b(query.payload, digest_size=16, salt=kind.to_bytes(1, "little")).digest()


def cache_store_command(prefix: str, query: Query, answer: CachedAnswer) -> Command:
    """The command by which a worker leaves an answer in the store, for the query's time to live."""
    value, tensor = answer
    return ("SET", prefix + cache_digest(query).hex(), (b"t" if tensor else b"j") + value, "EX", query.cache_ttl_s)


class LocalCache(Generic[K]):
    """Bounded least-recently-used map from keys to answers, with a time to live. Pure but for the clock.

    Args:
        max_entries, max_bytes: bounds; the least recently used goes first.
        clock: monotonic seconds.
    """

    def __init__(self, max_entries: int, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: dict[K, tuple[CachedAnswer, float]] = {}
        self.bytes_used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> CachedAnswer | None:
        """The answer, freshly used; None when there is none or its time is over."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            self.bytes_used -= len(entry[0][0]) + _ENTRY_OVERHEAD_BYTES
            return None
        self._entries[key] = entry
        return entry[0]

    def put(self, key: K, answer: CachedAnswer, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds; one larger than the whole cache is not kept."""
        size = len(answer[0]) + _ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes or not self._max_entries or ttl_s <= 0:
            return
        old = self._entries.pop(key, None)
        if old is not None:
            self.bytes_used -= len(old[0][0]) + _ENTRY_OVERHEAD_BYTES
        self._entries[key] = (answer, self._clock() + ttl_s)
        self.bytes_used += size
        while self.bytes_used > self._max_bytes or len(self._entries) > self._max_entries:
            oldest = self._entries.pop(next(iter(self._entries)))
            self.bytes_used -= len(oldest[0][0]) + _ENTRY_OVERHEAD_BYTES

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes_used = 0


class SharedCache:
    """Looks answers up in the store; the look-ups of one turn of the event loop travel as one MGET."""

    def __init__(self, channel: StoreChannel) -> None:
        self._channel = channel
        self._batch: dict[str, asyncio.Future[CachedAnswer | None]] = {}

    def get(self, key: str) -> asyncio.Future[CachedAnswer | None]:
        """The answer kept under `key`, or None. A store that is away is a miss: the query goes to the model."""
        future = self._batch.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._batch[key] = loop.create_future()
            if len(self._batch) == 1:
                loop.call_soon(self._send)
        return future

    def _send(self) -> None:
        batch, self._batch = self._batch, {}
        waiting = list(batch.values())
        try:
            answer = self._channel.execute(("MGET", *batch))
        except UnavailableError:
            _settle(waiting, [None] * len(waiting))
            return
        answer.add_done_callback(lambda done: _settle(waiting, _values(done, len(waiting))))


def _values(done: asyncio.Future[list[bytes | None]], count: int) -> list[bytes | None]:
    return [None] * count if done.cancelled() or done.exception() is not None else done.result()


def _settle(waiting: list[asyncio.Future[CachedAnswer | None]], values: list[bytes | None]) -> None:
    for future, value in zip(waiting, values, strict=True):
        if not future.done():
            future.set_result(None if value is None else (value[1:], value[:1] == b"t"))
