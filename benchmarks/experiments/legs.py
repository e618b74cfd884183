"""The two legs of a query's way by themselves, with the product's clients and settings and nothing around them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import redis

from skysail.topics.broker import TopicPartition
from skysail.topics.kafka.consumer import KafkaConsumer
from skysail.topics.kafka.producer import KafkaProducer
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.store.connection import PipelinedStore

__all__ = ["broker_leg_s", "store_leg_s"]

_WAIT_S = 10.0
_VALUE = b"0" * 200


class _Assigned:
    """Listens for the assignment only."""

    def __init__(self) -> None:
        self.partitions: set[TopicPartition] = set()

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self.partitions.update(partitions)

    def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:  # noqa: ARG002 - the protocol's
        self.partitions.difference_update(partitions)


def broker_leg_s(address: str, seconds: float) -> list[float]:
    """From `send` to the return of a waiting `poll` in another thread, one record at a time, on one partition."""
    properties = {"bootstrap.servers": address}
    topic = f"bench.leg.{time.time_ns()}"
    asyncio.run(TopicAdmin(properties, 1).create({topic: 1}))
    listener = _Assigned()
    consumer = KafkaConsumer(properties, topic, listener)
    consumer.subscribe([topic])
    limit = time.monotonic() + _WAIT_S
    while not listener.partitions and time.monotonic() < limit:
        consumer.poll(1, 0.05)
    return _timed_records(consumer, KafkaProducer(properties, _raise), topic, seconds)


def _raise(key: bytes | None, reason: str) -> None:
    message = f"a record was not stored: {key!r}: {reason}"
    raise RuntimeError(message)


def _timed_records(consumer: KafkaConsumer, producer: KafkaProducer, topic: str, seconds: float) -> list[float]:
    def send() -> None:
        producer.send(topic, 0, _VALUE, None, [])
        producer.poll()

    try:
        return _timed(send, lambda: bool(consumer.poll(1, 0.2)), seconds)
    finally:
        consumer.close()
        producer.close()


def store_leg_s(url: str, seconds: float) -> list[float]:
    """From XADD to the return of an `XREAD BLOCK` in another thread, one entry at a time."""
    key = f"bench:leg:{time.time_ns()}"
    reader_store, writer = redis.Redis.from_url(url), PipelinedStore(url)
    last: bytes = b"0"

    def send() -> None:
        writer.execute([("XADD", key, "MAXLEN", "~", 1000, "*", b"b", _VALUE)])

    def receive() -> bool:
        nonlocal last
        found: Any = reader_store.xread({key: last}, block=200)
        if found:
            last = found[0][1][-1][0]
        return bool(found)

    try:
        return _timed(send, receive, seconds)
    finally:
        reader_store.close()
        writer.close()


def _timed(send: Callable[[], None], receive: Callable[[], bool], seconds: float) -> list[float]:
    """From each `send` to the return of a `receive` in another thread that brought something, but the first quarter."""
    arrived: list[float] = []
    came, done = threading.Event(), threading.Event()

    def read() -> None:
        while not done.is_set():
            if receive():
                arrived.append(time.perf_counter())
                came.set()

    reader = threading.Thread(target=read)
    reader.start()
    taken: list[float] = []
    try:
        until = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < until:
            came.clear()
            send()
            if not came.wait(_WAIT_S):
                message = "what was sent never came"
                raise RuntimeError(message)
            taken.append(arrived[-1] - begin)
    finally:
        done.set()
        reader.join()
    return taken[len(taken) // 4 :]
