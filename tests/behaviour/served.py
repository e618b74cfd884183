"""A model that is served on one broker and one store, by the worker's real loop on a thread.

The model does what its rows say, so that one worker can serve many tests: ``{"raise": cause}``, ``{"wait": gate}``,
``{"die": anything}`` (at its first time); any other row is its own answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from skysail.admin.embedded.broker import BROKER_PROPERTIES
from skysail.topics.broker import FailureCallback, RecordProducer
from skysail.topics.client import ClientOptions, PredictionClient
from skysail.topics.memory import MemoryConsumer
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.specs import BatchSpec, InputType, ModelSpec, encode_spec
from skysail.topics.store.connection import PipelinedStore
from tests.workers.benches import Bench, KafkaBench, MemoryBench
from tests.workers.loop_worker import LoopWorker

__all__ = ["PARTITIONS", "Served", "WorkerDiedError", "bench_on"]

PARTITIONS = 4
MODEL = "m"
VERSION = "1"

#: What `skysail up` tells its processes for the embedded broker.
EMBEDDED: dict[str, Any] = {
    name.removeprefix("SKYSAIL_KAFKA__").lower().replace("_", "."): value for name, value in BROKER_PROPERTIES.items()
}
KAFKA: dict[str, Any] = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}

Producer = Mapping[str, Any] | Callable[[FailureCallback], RecordProducer]


class WorkerDiedError(BaseException):
    """Ends a worker's loop as nothing that a model may raise does."""


def bench_on(kind: str, address: str) -> Bench:
    """A broker of that kind: ``memory``, ``embedded`` or ``kafka``."""
    if kind == "memory":
        return MemoryBench()
    return KafkaBench(address, **(EMBEDDED if kind == "embedded" else KAFKA))


class Served:
    """Model ``m``, version 1, on one broker and one store.

    Attributes:
        batches: the rows of every batch that the model was given.
        gates: where rows that wait do so, by name.
    """

    def __init__(self, kind: str, address: str, redis_url: str, namespace: str, folder: Path) -> None:
        self.kind = kind
        self.bench = bench_on(kind, address)
        self.address = address
        self.redis_url = redis_url
        self.namespace = namespace
        self.topic = TopicNames(namespace).version(MODEL, VERSION)
        self.spec = ModelSpec(
            name=MODEL,
            version=VERSION,
            input_type=InputType.JSON,
            partitions=PARTITIONS,
            batch=BatchSpec(policy="fixed", size=64),
        )
        self.batches: list[list[Any]] = []
        self.gates: dict[str, threading.Event] = {}
        self.workers: list[LoopWorker] = []
        self._folder = folder

    def register(self) -> None:
        """Make the topics, and register the version as the current one."""
        self.make_topics()
        self.bench.create(1, f"{self.topic}-dlt")
        keys = KeyNames(self.namespace)
        store = PipelinedStore(self.redis_url)
        store.execute(
            [
                ("HSET", keys.models, self.spec.key, encode_spec(self.spec)),
                ("HSET", keys.current, MODEL, VERSION),
                ("SET", keys.epoch, 1),
                ("XADD", keys.changes, "*", "kind", "current", "name", MODEL),
            ]
        )
        store.close()

    def make_topics(self) -> None:
        """Make the topics that queries go to."""
        self.bench.create(PARTITIONS, self.topic, TopicNames(self.namespace).model(MODEL))

    def start_worker(self) -> LoopWorker:
        """One more worker; it has joined the group when this returns."""
        worker = LoopWorker(
            self.bench.ends,
            self.spec,
            self._predict,
            redis_url=self.redis_url,
            namespace=self.namespace,
            folder=self._folder,
        )
        worker.start()
        self.workers.append(worker)
        return worker

    @property
    def producer(self) -> Producer:
        """What a client is given to reach the broker."""
        if isinstance(self.bench, MemoryBench):
            return self.bench.broker.producer
        properties = EMBEDDED if self.kind == "embedded" else KAFKA
        return {"bootstrap.servers": self.address, **properties}

    def client(self, **options: Any) -> PredictionClient:
        """A client, not started."""
        return PredictionClient(self.producer, self.redis_url, self.namespace, ClientOptions(**options))

    @contextmanager
    def gate(self, name: str) -> Iterator[threading.Event]:
        """Rows ``{"wait": name}`` wait until the event is set, at the latest at the end of the block."""
        event = self.gates[name] = threading.Event()
        try:
            yield event
        finally:
            event.set()

    def seen(self, row: Any) -> int:
        """How often the model was given this row."""
        return sum(batch.count(row) for batch in list(self.batches))

    def _predict(self, rows: list[Any]) -> list[Any]:
        self.batches.append(rows)
        return [self._one(row) for row in rows]

    def _one(self, row: Any) -> Any:
        if isinstance(row, dict):
            if "raise" in row:
                raise ValueError(row["raise"])
            if "die" in row and self.seen(row) == 1:
                self._die()
            if "wait" in row:
                self.gates[row["wait"]].wait(30)
        return row

    def _die(self) -> None:
        """End the one worker as a crash would: it answers and commits nothing of what it has in hand."""
        (worker,) = self.workers
        if isinstance(worker.line.consumer, MemoryConsumer):
            worker.line.consumer.kill()
        raise WorkerDiedError

    def __enter__(self) -> Self:
        self.register()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()
