"""Two group members as one consumer: the version's own topic, and the model's topic while the version is current.

They are in two groups. In one group a promotion, a new version or a new worker would rebalance everybody, and the
sticky assignor (KIP-429), which evens out counts over all topics, may give one of two workers every partition of the
busy topic and the other every partition of the silent one. With a group for each topic, partitions of each are spread
evenly, a promotion moves the model's topic alone (with its offsets: that group is the model's, not the version's), and
the queries of the frontends never wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from skysail.topics.broker import RecordConsumer, TopicPartition
from skysail.topics.records import ConsumedRecord

__all__ = ["PairedConsumer"]

#: Only one member can be waited on; the other is looked at this often, in seconds. It is how late a record may be seen
#: on the topic that has been silent, and the cost of being idle: 50 looks a second.
_LOOK_EVERY_S = 0.02


class PairedConsumer:
    """A `RecordConsumer` of the version's topic, and of the model's topic when it is subscribed to as well.

    Args:
        own: of the version's group.
        shared_topic: the model's topic.
        make_shared: makes the member of the model's group, when that topic is wanted.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        own: RecordConsumer,
        shared_topic: str,
        make_shared: Callable[[], RecordConsumer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._own_topics: list[str] = []
        self._shared_topic = shared_topic
        self._make_shared = make_shared
        self._shared: RecordConsumer | None = None
        self._shared_spoke_last = False
        self._clock = clock

    def subscribe(self, topics: list[str]) -> None:
        """Join or leave the model's group as `topics` has its topic or not; the version's group is left alone."""
        own = [topic for topic in topics if topic != self._shared_topic]
        if own != self._own_topics:
            self._own_topics = own
            self._own.subscribe(own)
        if self._shared_topic not in topics:
            self._close_shared()
        elif self._shared is None:
            self._shared = self._make_shared()
            self._shared.subscribe([self._shared_topic])

    def _close_shared(self) -> None:
        if self._shared is not None:
            self._shared.close()  # its listener commits what is done, through this object
            self._shared = None
        self._shared_spoke_last = False

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumedRecord]:
        """Up to `max_records` of either topic; waits for the first on the topic that spoke last."""
        shared = self._shared
        if shared is None:
            return self._own.poll(max_records, timeout_s)
        limit = self._clock() + timeout_s
        while True:
            waited_on, other = (shared, self._own) if self._shared_spoke_last else (self._own, shared)
            records = other.poll(max_records, 0)
            if records:
                self._shared_spoke_last = not self._shared_spoke_last
            if len(records) < max_records:
                left_s = 0.0 if records else max(0.0, min(_LOOK_EVERY_S, limit - self._clock()))
                records += waited_on.poll(max_records - len(records), left_s)
            if records or self._clock() >= limit:
                return records

    def keep_alive(self) -> None:
        """Stay a member of both groups."""
        self._own.keep_alive()
        if self._shared is not None:
            self._shared.keep_alive()

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit in the group that each topic belongs to."""
        own = {place: offset for place, offset in offsets.items() if place[0] != self._shared_topic}
        if own:
            self._own.commit(own, wait=wait)
        if self._shared is not None and len(own) < len(offsets):
            shared = {place: offset for place, offset in offsets.items() if place[0] == self._shared_topic}
            self._shared.commit(shared, wait=wait)

    def assignment(self) -> frozenset[TopicPartition]:
        """Partitions of both topics."""
        shared = self._shared.assignment() if self._shared is not None else frozenset[TopicPartition]()
        return self._own.assignment() | shared

    def close(self) -> None:
        """Leave both groups."""
        self._close_shared()
        self._own.close()
