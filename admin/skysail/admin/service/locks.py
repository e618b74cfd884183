"""One operation at a time on each model."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

import structlog

__all__ = ["ModelLocks"]

_log = structlog.get_logger(__name__)


class ModelLocks:
    """A lock for each model, there while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, model: str) -> asyncio.Lock:
        """The lock of a model."""
        return self._locks.setdefault(model, asyncio.Lock())

    async def settle(self, timeout_s: float) -> None:
        """Wait until no operation is under way; before the end of the process."""
        try:
            async with asyncio.timeout(timeout_s):
                for lock in list(self._locks.values()):
                    async with lock:
                        pass
        except TimeoutError:
            _log.warning("operations_not_settled", timeout_s=timeout_s)
