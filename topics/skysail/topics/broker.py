"""The seam to the broker: what a producer and a consumer of records must do, for Kafka and for the in-memory fake."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from skysail.topics.records import ConsumedRecord, Header

__all__ = [
    "CommitFailureCallback",
    "FailureCallback",
    "RebalanceListener",
    "RecordConsumer",
    "RecordProducer",
    "TopicPartition",
]

#: ``(topic, partition)``.
TopicPartition = tuple[str, int]

#: Called with the key of a record that was not stored by the broker, and why.
FailureCallback = Callable[[bytes | None, str], None]

#: Called with the offsets that a commit in the background did not store, and why, on the consumer's thread.
CommitFailureCallback = Callable[[dict[TopicPartition, int], str], None]


class RecordProducer(Protocol):
    """Publishes records. One thread owns it; nothing here blocks but `probe`, `learn` and `flush`."""

    @property
    def available(self) -> bool:
        """False while the broker is known to be away."""
        ...

    @property
    def in_doubt(self) -> bool:
        """True when the broker has settled nothing for a while, though records wait for it: a probe will tell."""
        ...

    def send(self, topic: str, partition: int, value: bytes, key: bytes | None, headers: list[Header]) -> None:
        """Hand a record over (partition -1: any). Raises RejectedError when the local queue is full."""
        ...

    def poll(self) -> None:
        """Report failures that have come in since, through the failure callback."""
        ...

    def abandon(self) -> None:
        """Give up on every record that the broker has not stored; each is reported as a failure."""
        ...

    def probe(self, timeout_s: float) -> bool:
        """Ask the broker for a sign of life, and update `available`. Blocks; any thread may call it."""
        ...

    def learn(self, topic: str, timeout_s: float) -> bool:
        """Find out about a topic ahead of its first record; whether it exists. Blocks; any thread may call it."""
        ...

    def flush(self, timeout_s: float) -> int:
        """Wait until all is stored; how many records are not."""
        ...

    def close(self) -> None:
        """Flush briefly and let go of the connections."""
        ...


class RebalanceListener(Protocol):
    """Told of partitions gained and lost, on the thread that polls."""

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """New partitions: their records come with the next polls."""
        ...

    def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:
        """Partitions about to go to another member (last chance to commit), or `lost` already."""
        ...


class RecordConsumer(Protocol):
    """A member of a consumer group. One thread at a time owns it."""

    def subscribe(self, topics: list[str]) -> None:
        """Replace the subscription; the group rebalances."""
        ...

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumedRecord]:
        """Up to `max_records` that are there; waits at most `timeout_s` for the first and never for a second."""
        ...

    def keep_alive(self) -> None:
        """Stay a member of the group without taking records, while a long predict runs; serves rebalances."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit next offsets. With `wait`, return when stored; else in the background, superseded by later ones.

        Raises UnavailableError when it failed; a failure in the background is told to the commit failure callback.
        """
        ...

    def assignment(self) -> frozenset[TopicPartition]:
        """Partitions now assigned."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...
