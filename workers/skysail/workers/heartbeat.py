"""Says once a second that the worker is there, and how it fares."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ModelSpec, WorkerHeartbeat, WorkerState
from skysail.topics.store.connection import Command
from skysail.topics.store.workers import farewell_commands, heartbeat_commands
from skysail.workers.stats import WorkerStats

__all__ = ["Heartbeat", "HeartbeatWriter"]

_log = structlog.get_logger(__name__)


class Heartbeat:
    """Makes heartbeats from stats; rates are those since the heartbeat before. Pure but for the clocks."""

    def __init__(
        self,
        worker_id: str,
        spec: ModelSpec,
        stats: WorkerStats,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._worker_id = worker_id
        self._spec = spec
        self._stats = stats
        self._clock = clock
        self._now_ms = now_ms
        self._host = socket.gethostname()
        self._last = (clock(), 0, 0, 0, 0.0)

    def __call__(self) -> WorkerHeartbeat:
        """The heartbeat now."""
        stats = self._stats
        now = (self._clock(), stats.batches, stats.rows, stats.queries, stats.predict_s)
        elapsed_s, batches, rows, queries, predict_s = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        return WorkerHeartbeat(
            worker_id=self._worker_id,
            model=self._spec.name,
            version=self._spec.version,
            state=stats.state,
            pid=os.getpid(),
            host=self._host,
            partitions=stats.partitions,
            batch_cap=stats.batch_cap,
            batch_rows=rows / batches if batches else 0.0,
            predict_ms=predict_s * 1000 / batches if batches else 0.0,
            queries_per_s=queries / elapsed_s if elapsed_s > 0 else 0.0,
            outcomes=dict(stats.outcomes),
            error=stats.error,
            sent_ms=self._now_ms(),
        )


class HeartbeatStore(Protocol):
    """A store connection of the heartbeat's own."""

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Raises UnavailableError when the store is away."""
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...


class HeartbeatWriter:
    """A thread that writes heartbeats through a store connection of its own.

    A store that is away is tried again with the next beat, and noted in the log once.
    """

    def __init__(self, store: HeartbeatStore, keys: KeyNames, heartbeat: Heartbeat, interval_s: float) -> None:
        self._store = store
        self._keys = keys
        self._heartbeat = heartbeat
        self._interval_s = interval_s
        self._due = threading.Event()
        self._stopping = False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, with a first heartbeat at once."""
        self._thread.start()

    def beat_now(self) -> None:
        """Do not wait for the interval: the state has changed."""
        self._due.set()

    def stop(self) -> None:
        """End the thread; a worker that failed to load leaves its last heartbeat, with the reason, to be read."""
        self._stopping = True
        self._due.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while not self._stopping:
            self._write()
            self._due.wait(self._interval_s)
            self._due.clear()
        self._write(last=True)

    def _write(self, *, last: bool = False) -> None:
        beat = self._heartbeat()
        leaves = last and beat.state is not WorkerState.FAILED
        commands = farewell_commands(self._keys, beat.worker_id) if leaves else heartbeat_commands(self._keys, beat)
        try:
            self._store.execute(commands)
        except UnavailableError as error:
            if not self._away:
                _log.warning("heartbeat_not_written", error=str(error))
            self._away = True
        else:
            if self._away:
                _log.info("heartbeat_written_again")
            self._away = False
