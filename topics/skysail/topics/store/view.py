"""A process's own picture of the registry, kept up to date from the change stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import redis.asyncio

from skysail.topics.errors import SkysailError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry, RegistrySnapshot
from skysail.topics.tasks import cancel_all

__all__ = ["RegistryView"]

_BLOCK_MS = 5000
_RETRY_S = 0.25


class RegistryView:
    """Follows the registry; `snapshot` is the newest picture.

    While the store is away, or came back without its data, the last whole picture stays in force: models go on being
    served until the registry is restored.

    Args:
        url: of the store.
        keys: names of the namespace.
        on_change: called with each new picture.
    """

    def __init__(self, url: str, keys: KeyNames, on_change: Callable[[RegistrySnapshot], None] | None = None) -> None:
        self._store: redis.asyncio.Redis = async_store(url, socket_timeout=_BLOCK_MS / 1000 + 2)
        self._registry = Registry(self._store, keys)
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self.snapshot = RegistrySnapshot()
        self.last_error: SkysailError | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._run(), name="registry view")

    async def wait_loaded(self, timeout_s: float) -> bool:
        """Whether a first picture came within `timeout_s`."""
        try:
            await asyncio.wait_for(self._first.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def loaded(self) -> bool:
        """Whether there is a first picture."""
        return self._first.is_set()

    async def _run(self) -> None:
        while True:
            try:
                async for snapshot in self._registry.follow(_BLOCK_MS):
                    self._take(snapshot)
            except UnavailableError as error:
                self.last_error = error
            except SkysailError as error:  # a record that this release cannot read; keep what is known
                self.last_error = error
            await asyncio.sleep(_RETRY_S)

    def _take(self, snapshot: RegistrySnapshot) -> None:
        self.last_error = None
        if not snapshot.whole and self.snapshot.whole:
            return
        self.snapshot = snapshot
        self._first.set()
        if self._on_change is not None:
            self._on_change(snapshot)

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            await cancel_all([self._task])
            self._task = None
        await self._store.aclose()
