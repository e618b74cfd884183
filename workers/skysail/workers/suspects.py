"""Crash counts in the store, shared by all workers of a model: what was running when a worker process ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.store.connection import Command
from skysail.workers.delivery import Store
from skysail.workers.journal import RecordId, crash_key

__all__ = ["SuspectStore"]

#: A suspect that no worker met for so long is gone from its topic.
_TTL_S = 7 * 24 * 3600

#: Add one to the count of each field, in one step: two workers may end at the same moment.
_NOTE = """
for i = 4, #ARGV do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  local known, evidence = pcall(cjson.decode, old or '{}')
  local count = (known and type(evidence) == 'table' and tonumber(evidence['count']) or 0) + 1
  local noted = {count = count, version = ARGV[1], worker = ARGV[2], noted_ms = tonumber(ARGV[3])}
  redis.call('HSET', KEYS[1], ARGV[i], cjson.encode(noted))
end
redis.call('EXPIRE', KEYS[1], %d)
return #ARGV - 3
"""


class _Evidence(msgspec.Struct):
    count: int


class SuspectStore:
    """Reads and adds to a model's crash counts.

    Args:
        store: owned by the calling thread.
        keys: names of the namespace.
        model: the model's name.
        now_ms: unix milliseconds.
    """

    def __init__(
        self,
        store: Store,
        keys: KeyNames,
        model: str,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._key = keys.suspects(model)
        self._now_ms = now_ms

    def note(self, records: Sequence[RecordId], version: str, worker_id: str) -> None:
        """Count one more crash for each record.

        Raises:
            UnavailableError: when the store is away or refuses.
        """
        fields = [crash_key(record) for record in records]
        script = _NOTE % _TTL_S
        self._one(("EVAL", script, 1, self._key, version, worker_id, self._now_ms(), *fields))

    def load(self) -> dict[str, int]:
        """Crashes by `crash_key`.

        Raises:
            UnavailableError: when the store is away or refuses.
        """
        flat = self._one(("HGETALL", self._key))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {field.decode(): msgspec.json.decode(value, type=_Evidence).count for field, value in pairs}

    def _one(self, command: Command) -> Any:
        (answer,) = self._store.execute([command])
        if isinstance(answer, ResponseError):
            message = f"the store refuses {command[0]}: {answer}"
            raise UnavailableError(message)
        return answer
