"""The consuming end: a group member that takes what is there and commits when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import methodcaller
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from skysail.topics.broker import CommitFailureCallback, RebalanceListener, TopicPartition
from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.config import consumer_config
from skysail.topics.records import ConsumedRecord

__all__ = ["KafkaConsumer", "record_of"]

#: Errors that pass by themselves; librdkafka retries.
_TRANSIENT = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - confluent's names
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._PARTITION_EOF,  # noqa: SLF001
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError._STATE,  # noqa: SLF001
        KafkaError._NO_OFFSET,  # noqa: SLF001
    }
)


#: confluent returns headers and leaves an exception pending when a name is not UTF-8. A call from Python code does not
#: look for that once the interpreter has specialised it, and the next call would raise; a call from C always does.
_headers_of = methodcaller("headers")


class KafkaConsumer:
    """A `RecordConsumer` on librdkafka. Connects at the first `subscribe`, not in the constructor.

    Args:
        properties: librdkafka properties, `bootstrap.servers` among them.
        group: the consumer group.
        listener: told of partitions gained and lost.
        on_error: told of errors that librdkafka gets over by itself, for the log.
        on_commit_failure: told the offsets that a commit in the background did not store, and why, on the owner's
            thread.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        group: str,
        listener: RebalanceListener,
        on_error: Callable[[str], None] | None = None,
        on_commit_failure: CommitFailureCallback | None = None,
    ) -> None:
        self._config = consumer_config(properties, group)
        self._listener = listener
        self._on_error = on_error
        self._on_commit_failure = on_commit_failure
        self._consumer: confluent_kafka.Consumer | None = None
        self._assigned: set[TopicPartition] = set()
        self._paused: list[KafkaTopicPartition] = []

    def _client(self) -> confluent_kafka.Consumer:
        if self._consumer is None:
            callbacks = {"error_cb": self._note_error, "on_commit": self._on_commit}
            self._consumer = confluent_kafka.Consumer({**self._config, **callbacks})
        return self._consumer

    def _note_error(self, error: KafkaError) -> None:
        if self._on_error is not None:
            self._on_error(error.str())

    def _on_commit(self, error: KafkaError | None, partitions: list[KafkaTopicPartition]) -> None:
        failed: dict[TopicPartition, int] = {}
        reason = ""
        for place in partitions:
            cause = error or place.error
            if cause is not None:
                failed[place.topic, place.partition] = place.offset
                reason = cause.str()
        if failed and self._on_commit_failure is not None:
            self._on_commit_failure(failed, reason)

    def subscribe(self, topics: list[str]) -> None:
        """Replace the subscription."""
        self._client().subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _on_assign(self, _: confluent_kafka.Consumer, partitions: list[KafkaTopicPartition]) -> None:
        pairs = _pairs(partitions)
        self._assigned.update(pairs)
        self._listener.assigned(pairs)

    def _on_revoke(self, _: confluent_kafka.Consumer, partitions: list[KafkaTopicPartition]) -> None:
        self._forget(partitions, lost=False)

    def _on_lost(self, _: confluent_kafka.Consumer, partitions: list[KafkaTopicPartition]) -> None:
        self._forget(partitions, lost=True)

    def _forget(self, partitions: list[KafkaTopicPartition], *, lost: bool) -> None:
        pairs = _pairs(partitions)
        self._listener.revoked(pairs, lost=lost)
        self._assigned.difference_update(pairs)
        # librdkafka keeps a partition paused through a rebalance: given back later, it would never be read again.
        self._client().resume([partition for partition in self._paused if partition in partitions])
        self._paused = [partition for partition in self._paused if partition not in partitions]

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumedRecord]:
        """Up to `max_records` that are there; waits at most `timeout_s` for the first.

        `consume(n, t)` would wait for all n, so the first record is polled for and the rest are taken as they lie.

        Raises:
            KafkaException: for an error that does not pass by itself (authorisation, say).
        """
        if self._paused:
            self._resume()
        consumer = self._client()
        first = consumer.poll(timeout_s)
        if first is None:
            return []
        messages = [first] if max_records == 1 else [first, *consumer.consume(max_records - 1, 0)]
        return [record_of(message) for message in messages if message.error() is None or self._tolerate(message)]

    def _tolerate(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() not in _TRANSIENT:
            raise KafkaException(error)
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._note_error(error)
        return False

    def keep_alive(self) -> None:
        """Pause all partitions and poll once, so that the group keeps this member while predict runs."""
        consumer = self._client()
        current = consumer.assignment()
        fresh = [partition for partition in current if partition not in self._paused]
        if fresh:
            consumer.pause(fresh)
            self._paused += fresh
        message: Any = consumer.poll(0)
        if message is not None and message.error() is None:  # fetched before the pause took hold: back to it later
            consumer.seek(KafkaTopicPartition(message.topic(), message.partition(), message.offset()))

    def _resume(self) -> None:
        self._client().resume(self._paused)
        self._paused = []

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit next offsets.

        Raises:
            UnavailableError: when the commit failed; without `wait`, when it could not even be begun.
        """
        positions = [KafkaTopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        if positions:
            consumer: Any = self._client()  # its overloads want a literal
            try:
                consumer.commit(offsets=positions, asynchronous=not wait)
            except KafkaException as error:
                message = f"the commit failed: {error.args[0].str()}"
                raise UnavailableError(message) from error

    def assignment(self) -> frozenset[TopicPartition]:
        """Partitions now assigned."""
        return frozenset(self._assigned)

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._assigned.clear()


def _pairs(partitions: Iterable[KafkaTopicPartition]) -> list[TopicPartition]:
    return [(partition.topic, partition.partition) for partition in partitions]


def record_of(message: Any) -> ConsumedRecord:  # a consumed message has a topic, whatever its type says
    """A message that holds no error, as a record."""
    headers, fault = None, ""
    try:
        headers = _headers_of(message)
    except (SystemError, UnicodeError):  # raised for the whole poll, at each new try: one record would stop a model
        fault = "the name of one is not UTF-8"
    return ConsumedRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        message.value(),
        message.key(),
        headers,
        message.timestamp()[1],
        fault,
    )
