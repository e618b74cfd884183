"""Follows which version of a model is current, through the registry's change stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

from skysail.topics.names import KeyNames
from skysail.topics.store.connection import STORE_ERRORS, sync_store

__all__ = ["CurrentFollower"]

_log = structlog.get_logger(__name__)

_BLOCK_MS = 5000
_RETRY_S = 0.25


class CurrentFollower:
    """A thread that knows a model's current version. It sleeps in a blocking read of the change stream.

    While the store is away, or has lost the registry, the last known version stays.

    Args:
        url: of the store; the thread has a connection of its own.
        keys: names of the namespace.
        model: the model's name.
        on_change: called with the new version (None: there is none) on this thread.
    """

    def __init__(self, url: str, keys: KeyNames, model: str, on_change: Callable[[str | None], None]) -> None:
        self._store = sync_store(url, socket_timeout=_BLOCK_MS / 1000 + 2)
        self._keys = keys
        self._model = model
        self._on_change = on_change
        self._known: str | None = None
        self._away = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="current version", daemon=True)

    def start(self) -> None:
        """Begin to follow; the pointer is read once before this returns, unless the store is away."""
        try:
            self._take()
        except STORE_ERRORS as error:
            self._note_away(error)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; the thread ends with the read that it is in, or with the process."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except STORE_ERRORS as error:
                self._note_away(error)
                self._stopped.wait(_RETRY_S)
        self._store.close()

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            _log.warning("registry_away", error=str(error))
        self._away = True

    def _follow(self) -> None:
        last = self._last_change()
        while not self._stopped.is_set():
            self._take()
            entries: Any = self._store.xread({self._keys.changes: last}, block=_BLOCK_MS)
            # A store that came back empty has a stream that begins anew.
            last = entries[0][1][-1][0] if entries else self._last_change()

    def _last_change(self) -> Any:
        entries: Any = self._store.xrevrange(self._keys.changes, count=1)
        return entries[0][0] if entries else "0-0"

    def _take(self) -> None:
        raw: Any = self._store.hget(self._keys.current, self._model)
        version = raw.decode() if raw is not None else None
        if version is None and not self._store.exists(self._keys.epoch):
            return
        if self._away:
            self._away = False
            _log.info("registry_back")
        if version != self._known:
            self._known = version
            self._on_change(version)
