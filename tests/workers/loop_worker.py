"""A worker inside the test's process: the whole loop on a thread, without signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skysail.topics.settings import WorkerSettings
from skysail.topics.specs import ModelSpec
from skysail.topics.store.connection import PipelinedStore
from skysail.workers.broker_ends import BrokerEnds
from skysail.workers.journal import BatchJournal
from skysail.workers.metrics import NO_METRICS
from skysail.workers.runtimes.model import FunctionModel
from skysail.workers.stats import WorkerStats
from skysail.workers.stopping import StopRequest
from skysail.workers.wiring import Line, Means, assemble
from tests.waiting import wait_until

__all__ = ["LoopWorker"]


class LoopWorker:
    """Serves a function as a version of a model."""

    def __init__(
        self,
        ends: BrokerEnds,
        spec: ModelSpec,
        function: Callable[[Any], Any],
        *,
        redis_url: str,
        namespace: str,
        folder: Path,
    ) -> None:
        self.spec = spec
        self.stats = WorkerStats()
        self.settled = threading.Event()
        self._stop = StopRequest()
        self._journal = BatchJournal(folder / f"journal-{id(self)}")
        self._store = PipelinedStore(redis_url)
        self._error: BaseException | None = None
        self._model = FunctionModel(function)
        means = Means(
            settings=WorkerSettings(model=spec.name, version=spec.version),
            namespace=namespace,
            worker_id=f"worker-{spec.version}",
            spec=spec,
            model=self._model,
            broker=ends,
            store=self._store,
            journal=self._journal,
            stats=self.stats,
            metrics=NO_METRICS,
            stop=self._stop,
        )
        self.line: Line = assemble(means, self.settled.set)
        self._thread = threading.Thread(target=self._run, name=f"worker {spec.key}", daemon=True)

    def start(self, *, current: bool = False) -> None:
        """Begin, and wait for partitions."""
        if current:
            self.line.subscription.set_current(self.spec.version)
        self._journal.open()
        self._thread.start()
        wait_until(self._is_settled, 40, f"partitions for version {self.spec.version}")

    def _is_settled(self) -> bool:
        if self._error is not None:
            raise self._error
        return self.settled.is_set()

    def _run(self) -> None:
        line = self.line
        try:
            line.keeper.start()
            try:
                line.loop.run()
                line.committer.commit_now(line.consumer)
            finally:
                line.keeper.stop()
                line.consumer.close()
                line.publisher.close()
                self._model.close()
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            self._error = error

    def stop(self) -> None:
        """Drain; raises what the loop raised."""
        self._stop.requested = True
        if self._thread.ident is not None:
            self._thread.join(30)
        self._store.close()
        self._journal.close()
        if self._error is not None:
            raise self._error
