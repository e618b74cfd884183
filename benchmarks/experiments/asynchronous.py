"""Kafka in, Kafka out: one worker with a trivial model beside a bare consume-produce loop with the same settings.

The queries lie on the topic before either starts, and the rate is read from the broker: the time from the first to the
last record on the output topic.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

import confluent_kafka

from benchmarks.experiments.figures import markdown, verdict
from benchmarks.experiments.models import noop
from benchmarks.experiments.stack import Stack
from benchmarks.processes import Process
from benchmarks.results import save
from skysail.topics.ids import Uuid7Generator
from skysail.topics.kafka.config import producer_config
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import TopicNames
from tests.waiting import wait_until

__all__ = ["run", "table"]

_RATIO = 0.5
_PER_SECOND = 20_000
_PARTITIONS = 8
_ROW = b"[0.0]"
_LIMIT_S = 300.0


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Both, interleaved, with about as many records as the bare loop copies in `seconds`."""
    count = max(2_000, int(_PER_SECOND * seconds))
    rates: dict[str, list[float]] = defaultdict(list)
    with Stack() as stack:
        stack.deploy("noop", noop, slo_ms=20_000, partitions=_PARTITIONS)
        for repeat in range(repeats):
            rates["skysail"].append(_skysail(stack, f"bench.answers.{repeat}", count))
            rates["bare loop"].append(_bare(stack, f"bench.in.{repeat}", f"bench.out.{repeat}", count))
            print({name: round(found[-1]) for name, found in rates.items()}, flush=True)
    rows = [
        {"": name, "records/s": round(median(found)), "least": round(min(found)), "most": round(max(found))}
        for name, found in rates.items()
    ]
    ratio = median(rates["skysail"]) / median(rates["bare loop"])
    targets = [verdict("Skysail ÷ bare loop", ratio, _RATIO, at_least=True)]
    result = {"repeats": repeats, "records": count, "rows": rows, "targets": targets}
    save(asynchronous=result)
    return result


def _skysail(stack: Stack, sink: str, count: int) -> float:
    """Records a second of one worker that finds `count` queries waiting."""
    stack.connection.set_num_replicas("noop", 0)
    stack.wait_replicas("noop", 0)
    _make(stack, {sink: _PARTITIONS})
    _fill(stack, TopicNames().version("noop", "1"), count, reply_to=f"kafka:{sink}")
    stack.connection.set_num_replicas("noop", 1)
    return _rate(stack, sink, count)


def _bare(stack: Stack, source: str, sink: str, count: int) -> float:
    _make(stack, {source: _PARTITIONS, sink: _PARTITIONS})
    _fill(stack, source, count, reply_to=None)
    command = ["-m", "benchmarks.experiments.bare_loop", stack.kafka.address, source, sink, str(count)]
    process = Process("bare-loop", [sys.executable, *command])
    try:
        return _rate(stack, sink, count)
    finally:
        process.stop()


def _make(stack: Stack, topics: dict[str, int]) -> None:
    asyncio.run(TopicAdmin({"bootstrap.servers": stack.kafka.address}, 1).create(topics))


def _fill(stack: Stack, topic: str, count: int, reply_to: str | None) -> None:
    """Records with the headers of a query that wants its answer on Kafka, or with none."""
    properties = {"bootstrap.servers": stack.kafka.address, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    producer = confluent_kafka.Producer({**producer_config(properties), "message.timeout.ms": 60_000})
    new_id = Uuid7Generator()
    for number in range(count):
        query_id = new_id().encode()
        headers = [] if reply_to is None else [("skysail-id", query_id), ("skysail-reply-to", reply_to.encode())]
        producer.produce(topic, _ROW, query_id, number % _PARTITIONS, headers=headers)  # type: ignore[arg-type]  # lists are invariant
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(60):
        message = f"{topic} could not be filled"
        raise RuntimeError(message)


def _rate(stack: Stack, sink: str, count: int) -> float:
    """From the broker's own times of the first and the last record."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": stack.kafka.address, "group.id": f"rate-{time.time_ns()}", "enable.auto.commit": False}
    )
    places = [confluent_kafka.TopicPartition(sink, partition) for partition in range(_PARTITIONS)]
    try:
        wait_until(lambda: _stored(consumer, places) >= count, _LIMIT_S, f"{count} records on {sink}")
        times_ms = _times_ms(consumer, places, count)
    finally:
        consumer.close()
    return (len(times_ms) - 1) / max(1, max(times_ms) - min(times_ms)) * 1000


def _stored(consumer: confluent_kafka.Consumer, places: list[confluent_kafka.TopicPartition]) -> int:
    time.sleep(0.2)  # the looks must not cost what is measured
    return sum(consumer.get_watermark_offsets(place, timeout=10, cached=False)[1] for place in places)


def _times_ms(
    consumer: confluent_kafka.Consumer, places: list[confluent_kafka.TopicPartition], count: int
) -> list[int]:
    for place in places:
        place.offset = confluent_kafka.OFFSET_BEGINNING
    consumer.assign(places)
    times_ms: list[int] = []
    while len(times_ms) < count:
        messages = consumer.consume(10_000, 1.0)
        times_ms += [message.timestamp()[1] for message in messages if message.error() is None]
    return times_ms


def table(result: Mapping[str, Any]) -> str:
    """Both rates, and the target."""
    title = f"{result['records']:,} records, {_PARTITIONS} partitions each way:"
    return f"{title}\n\n{markdown(result['rows'])}\n\n{markdown(result['targets'])}"
