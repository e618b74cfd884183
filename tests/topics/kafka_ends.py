"""What tests of the Kafka ends share: topics, what a listener was told, and who reads a topic without a group."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, Message, TopicPartition

from skysail.topics.broker import TopicPartition as Place
from skysail.topics.kafka.topics import TopicAdmin
from tests.waiting import wait_until

__all__ = ["RecordingListener", "make_topics", "read_all"]


class RecordingListener:
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[Place]]] = []

    def assigned(self, partitions: Iterable[Place]) -> None:
        self.told.append(("assigned", sorted(partitions)))

    def revoked(self, partitions: Iterable[Place], *, lost: bool) -> None:
        self.told.append(("lost" if lost else "revoked", sorted(partitions)))

    @property
    def gone(self) -> list[Place]:
        """Every partition that was revoked or lost."""
        return [place for kind, places in self.told if kind != "assigned" for place in places]


def make_topics(bootstrap_servers: str, partitions: Mapping[str, int]) -> None:
    """Create topics and wait until they are there."""
    asyncio.run(TopicAdmin({"bootstrap.servers": bootstrap_servers}).create(partitions))


def read_all(bootstrap_servers: str, topic: str, partitions: int, count: int) -> list[Message]:
    """The first `count` records of a topic, read with a plain client."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[Message] = []

    def complete() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            found.append(message)
        return len(found) >= count

    try:
        wait_until(complete, 20, lambda: f"{count} records of {topic}, {len(found)} came")
    finally:
        consumer.close()
    return found
