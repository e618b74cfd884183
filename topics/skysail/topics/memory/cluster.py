"""What the in-memory broker remembers: logs, and groups with their members, targets and committed offsets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from zlib import crc32

from skysail.topics.broker import TopicPartition
from skysail.topics.memory.assignment import assign_partitions
from skysail.topics.records import ConsumedRecord, Header

__all__ = ["Cluster", "Group", "Member"]


class Member:
    """A member of a group: what it subscribes to, and the next offset of each partition that it holds."""

    def __init__(self) -> None:
        self.subscription: frozenset[str] = frozenset()
        self.positions: dict[TopicPartition, int] = {}


class Group:
    """A consumer group.

    Attributes:
        members: by name, in the order in which they joined.
        committed: next offset by partition.
        targets: the member that is to have each partition; another may still hold it.
    """

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.targets: dict[TopicPartition, str] = {}

    def held(self) -> set[TopicPartition]:
        """What members still hold, theirs by now or not."""
        return {place for member in self.members.values() for place in member.positions}


class Cluster:
    """The state of one in-memory broker. Whoever reads or changes it holds `changed`, which is notified of changes.

    Args:
        now_ms: unix ms, for the records' timestamps.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.changed = threading.Condition()
        self.running = True
        self.topics: dict[str, list[list[ConsumedRecord]]] = {}
        self._groups: dict[str, Group] = {}
        self._now_ms = now_ms
        self._turn = count()

    def switch(self, *, running: bool) -> None:
        """Go away or come back."""
        with self.changed:
            self.running = running
            self.changed.notify_all()

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic; one that exists already is a success."""
        with self.changed:
            if name not in self.topics:
                self.topics[name] = [[] for _ in range(partitions)]
                for group in self._groups.values():
                    self.rebalance(group)

    def append(self, topic: str, partition: int, value: bytes, key: bytes | None, headers: list[Header]) -> bool:
        """Store a record (partition -1: by the key's CRC-32 as librdkafka does, else in turn); whether it could be."""
        with self.changed:
            logs = self.topics.get(topic)
            if not self.running or logs is None or partition >= len(logs):
                return False
            if partition < 0:
                partition = (crc32(key) if key else next(self._turn)) % len(logs)
            log = logs[partition]
            log.append(ConsumedRecord(topic, partition, len(log), value, key, list(headers) or None, self._now_ms()))
            self.changed.notify_all()
            return True

    def group(self, name: str) -> Group:
        """The group of that name; there always is one."""
        with self.changed:
            return self._groups.setdefault(name, Group())

    def rebalance(self, group: Group) -> None:
        """Choose anew who is to have which partition; members act on it in their next polls."""
        subscriptions = {name: member.subscription for name, member in group.members.items()}
        places = [(topic, partition) for topic, logs in self.topics.items() for partition in range(len(logs))]
        group.targets = assign_partitions(subscriptions, places, group.targets)
        self.changed.notify_all()
