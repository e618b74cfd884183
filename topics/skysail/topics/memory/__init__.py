"""A broker in the process: topics, consumer groups and rebalances as Kafka has them, without a server.

For unit tests, yours included: a `PredictionClient` takes ``broker.producer`` in place of librdkafka properties, a
worker takes ``broker.consumer(group, listener)``. What a test would otherwise wait for happens at once: a member that
was killed is missed without a session timeout, and a broker that was stopped is known to be away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

from skysail.topics.broker import CommitFailureCallback, FailureCallback, RebalanceListener, TopicPartition
from skysail.topics.memory.assignment import assign_partitions
from skysail.topics.memory.cluster import Cluster
from skysail.topics.memory.consumer import MemoryConsumer
from skysail.topics.memory.producer import MemoryProducer
from skysail.topics.records import ConsumedRecord

__all__ = ["MemoryBroker", "MemoryConsumer", "MemoryProducer", "assign_partitions"]


class MemoryBroker:
    """Makes topics, producers and consumers, and shows what they did. Any thread may use it.

    Args:
        now_ms: unix ms, for the records' timestamps.
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._cluster = Cluster(now_ms)
        self._member = count(1)

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic; one that exists already is a success. Records for a topic that nobody made are not stored."""
        self._cluster.create_topic(name, partitions)

    def producer(self, on_failure: FailureCallback) -> MemoryProducer:
        """A new `RecordProducer`; `on_failure` is told the key of each record that was not stored, and why."""
        return MemoryProducer(self._cluster, on_failure)

    def consumer(
        self, group: str, listener: RebalanceListener, on_commit_failure: CommitFailureCallback | None = None
    ) -> MemoryConsumer:
        """A new `RecordConsumer`; it is a member of the group from its first `subscribe` on."""
        name = f"member-{next(self._member)}"
        return MemoryConsumer(self._cluster, self._cluster.group(group), name, listener, on_commit_failure)

    def stop(self) -> None:
        """Go away: nothing is stored, fetched or committed until `start`."""
        self._cluster.switch(running=False)

    def start(self) -> None:
        """Come back, with all that was stored."""
        self._cluster.switch(running=True)

    def records(self, topic: str) -> list[ConsumedRecord]:
        """Everything that was ever sent to a topic, by partition and offset."""
        with self._cluster.changed:
            return [record for log in self._cluster.topics[topic] for record in log]

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """The offsets from which a group would go on; a partition that it never committed is left out."""
        with self._cluster.changed:
            return dict(self._cluster.group(group).committed)

    def lag(self, group: str, topic: str) -> int:
        """How many records of a topic the group has not committed."""
        with self._cluster.changed:
            committed = self._cluster.group(group).committed
            return sum(len(log) - committed.get((topic, i), 0) for i, log in enumerate(self._cluster.topics[topic]))
