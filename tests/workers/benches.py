"""One way to use three brokers: the in-memory fake, the embedded broker and Kafka."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from skysail.topics.names import KeyNames
from skysail.topics.records import ConsumedRecord, Header, Query, Reply, decode_reply_batch, encode_query_headers
from skysail.topics.settings import KafkaSettings
from skysail.workers.broker_ends import BrokerEnds, KafkaEnds
from tests.waiting import wait_until

__all__ = ["Bench", "KafkaBench", "MemoryBench", "Replies"]

TIMEOUT_S = 40.0


class Bench(Protocol):
    """A broker as a test uses it."""

    ends: BrokerEnds

    def create(self, partitions: int, *topics: str) -> None:
        """Make topics."""

    def send(self, topic: str, value: bytes, *, key: bytes | None, headers: list[Header], partition: int) -> None:
        """Produce a record."""

    def read(self, topic: str, count: int) -> list[ConsumedRecord]:
        """The first `count` records of a topic of one partition, waiting for them."""

    def committed(self, group: str, topic: str) -> int:
        """How many records of a topic the group has committed."""


class _MemoryEnds:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def consumer(self, group: str, listener: Any, on_commit_failure: Any) -> MemoryConsumer:
        return self._broker.consumer(group, listener, on_commit_failure)

    def producer(self, on_failure: Any) -> MemoryProducer:
        return self._broker.producer(on_failure)

    def make_topic(self, topic: str) -> str | None:
        self._broker.create_topic(topic, 1)
        return None


class MemoryBench:
    """The in-memory fake."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.ends: BrokerEnds = _MemoryEnds(self.broker)
        self._producer = self.broker.producer(_fail)

    def create(self, partitions: int, *topics: str) -> None:
        for topic in topics:
            self.broker.create_topic(topic, partitions)

    def send(
        self, topic: str, value: bytes, *, key: bytes | None = None, headers: list[Header], partition: int = -1
    ) -> None:
        self._producer.send(topic, partition, value, key, headers)
        self._producer.flush(0)

    def read(self, topic: str, count: int) -> list[ConsumedRecord]:
        def enough() -> list[ConsumedRecord]:
            try:
                records = self.broker.records(topic)
            except KeyError:
                return []
            return records if len(records) >= count else []

        return wait_until(enough, TIMEOUT_S, f"{count} records on {topic}")

    def committed(self, group: str, topic: str) -> int:
        return sum(offset for (name, _), offset in self.broker.committed(group).items() if name == topic)


class KafkaBench:
    """Kafka, or the embedded broker."""

    def __init__(self, bootstrap_servers: str, **properties: Any) -> None:
        self._settings = KafkaSettings(bootstrap_servers=bootstrap_servers, properties=properties, replication_factor=1)
        self.ends: BrokerEnds = KafkaEnds(self._settings)
        self._producer = self.ends.producer(_fail)
        self._partitions: dict[str, int] = {}

    def create(self, partitions: int, *topics: str) -> None:
        admin = TopicAdmin(self._settings.librdkafka(), 1)
        asyncio.run(admin.create(dict.fromkeys(topics, partitions)))
        self.know(partitions, *topics)

    def know(self, partitions: int, *topics: str) -> None:
        """These topics exist."""
        self._partitions |= dict.fromkeys(topics, partitions)

    def send(
        self, topic: str, value: bytes, *, key: bytes | None = None, headers: list[Header], partition: int = -1
    ) -> None:
        self._producer.send(topic, partition, value, key, headers)
        assert self._producer.flush(10) == 0

    def read(self, topic: str, count: int) -> list[ConsumedRecord]:
        consumer = self._consumer("reader")
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        records: list[ConsumedRecord] = []

        def enough() -> bool:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
                headers: Any = message.headers()
                records.append(ConsumedRecord(*place, message.value(), _bytes(message.key()), headers))
            return len(records) >= count

        try:
            wait_until(enough, TIMEOUT_S, lambda: f"{count} records on {topic}; there are {len(records)}")
        finally:
            consumer.close()
        return records

    def committed(self, group: str, topic: str) -> int:
        consumer = self._consumer(group)
        places = [TopicPartition(topic, partition) for partition in range(self._partitions[topic])]
        try:
            return sum(max(place.offset, 0) for place in consumer.committed(places, timeout=10))
        except KafkaException as error:
            cause = error.args[0]
            if cause.retriable() or cause.code() == KafkaError.NOT_COORDINATOR:  # it is moving, or has just started
                return 0
            raise
        finally:
            consumer.close()

    def _consumer(self, group: str) -> Consumer:
        return Consumer({**self._settings.librdkafka(), "group.id": group, "enable.auto.commit": False})


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _fail(key: bytes | None, reason: str) -> None:
    message = f"a record of the test was not stored: {key!r}: {reason}"
    raise AssertionError(message)


class Replies:
    """A client without a frontend: sends queries, and reads its reply stream."""

    def __init__(self, bench: Bench, redis_url: str, namespace: str, client_id: str = "tester") -> None:
        self._bench = bench
        self._store = redis.Redis.from_url(redis_url)
        self._stream = KeyNames(namespace).replies(client_id)
        self.reply_to = f"redis:{client_id}"
        self._last: Any = "0"
        self.batch_rows: list[int] = []
        self.versions: Counter[str] = Counter()
        self.by_id: dict[str, Reply] = {}
        self.copies: Counter[str] = Counter()

    def ask(self, topic: str, *queries: Query, partition: int = -1) -> None:
        """Produce queries; those that name nowhere to reply to are kept as jobs."""
        for query in queries:
            self._bench.send(
                topic, query.payload, key=query.id.encode(), headers=encode_query_headers(query), partition=partition
            )

    def take(self) -> None:
        """Read what has come in."""
        answer: Any = self._store.xread({self._stream: self._last}, count=1000)
        for _, entries in answer:
            self._last = entries[-1][0]
            for _, fields in entries:
                batch = decode_reply_batch(fields[b"b"])
                self.batch_rows.append(batch.rows)
                for reply in batch.replies:
                    self.versions[batch.version] += 1
                    self.copies[reply.id] += 1
                    self.by_id[reply.id] = reply

    def wait_for(self, ids: Iterable[str], timeout_s: float = TIMEOUT_S, note: Callable[[], str] = str) -> None:
        """Wait until each of these ids has its outcome."""
        wanted = set(ids)

        def complete() -> bool:
            self.take()
            return wanted <= self.by_id.keys()

        wait_until(
            complete,
            timeout_s,
            lambda: f"outcomes of {len(wanted)} queries; missing {sorted(wanted - self.by_id.keys())[:5]}\n{note()}",
        )

    def outcomes(self) -> dict[str, str]:
        """Outcome by id."""
        return {query_id: reply.outcome for query_id, reply in self.by_id.items()}

    def close(self) -> None:
        self._store.close()
