"""Reading a topic from its first record to its last as they are now, and cutting its head off. Joins no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from skysail.topics.errors import ConflictError, UnavailableError
from skysail.topics.kafka.config import client_config, consumer_config
from skysail.topics.kafka.consumer import record_of
from skysail.topics.records import ConsumedRecord

__all__ = ["TopicReader"]

_ANSWERS_S = 10.0
_POLL_S = 0.2
_AT_ONCE = 500


class TopicReader:
    """Looks through topics. Blocks; each call connects for itself.

    Args:
        properties: librdkafka properties.
        silence_s: how long the broker may send nothing before it counts as away.
        clock: monotonic seconds.
    """

    def __init__(
        self, properties: Mapping[str, Any], silence_s: float = _ANSWERS_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._properties = properties
        self._silence_s = silence_s
        self._clock = clock

    def read(self, topic: str) -> Iterator[ConsumedRecord]:
        """All records that the topic holds now; none when it does not exist.

        Raises:
            UnavailableError: when the broker does not answer.
        """
        config = consumer_config(self._properties, f"skysail-reader-{uuid4().hex}")
        consumer = confluent_kafka.Consumer({**config, "enable.partition.eof": False})
        try:
            ends = self._ends(consumer, topic)
            if ends:
                consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
                yield from self._until(consumer, ends)
        except KafkaException as error:
            raise UnavailableError(error.args[0].str()) from error
        finally:
            consumer.close()

    def _ends(self, consumer: confluent_kafka.Consumer, topic: str) -> dict[int, int]:
        """Partitions that hold something, and one past their last offset."""
        found = consumer.list_topics(topic, timeout=_ANSWERS_S).topics[topic]
        if found.error is not None:
            return {}
        ends = {}
        for partition in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ANSWERS_S)
            if high > low:
                ends[partition] = high
        return ends

    def _until(self, consumer: confluent_kafka.Consumer, ends: dict[int, int]) -> Iterator[ConsumedRecord]:
        limit = self._clock() + self._silence_s
        while ends:
            messages = consumer.consume(_AT_ONCE, _POLL_S)
            if messages:
                limit = self._clock() + self._silence_s
            elif self._clock() > limit:
                text = f"the broker has sent nothing for {self._silence_s:g} s"
                raise UnavailableError(text)
            for message in messages:
                if message.error() is not None:
                    raise KafkaException(message.error())
                record = record_of(message)
                if record.offset < ends.get(record.partition, 0):
                    yield record
            self._forget_done(consumer, ends)

    @staticmethod
    def _forget_done(consumer: confluent_kafka.Consumer, ends: dict[int, int]) -> None:
        # By position, not by the last record: the end may be a transaction's marker.
        for place in consumer.position(consumer.assignment()):
            if place.offset >= ends.get(place.partition, 0):
                ends.pop(place.partition, None)

    def cut(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete the records of each partition before an offset.

        Raises:
            UnavailableError: when the broker does not answer.
            ConflictError: when it refuses.
        """
        places = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        admin = AdminClient(client_config(self._properties))  # its futures come to nothing without it
        futures = admin.delete_records(places, request_timeout=_ANSWERS_S)
        for future in futures.values():
            try:
                future.result(timeout=_ANSWERS_S + 1)
            except (KafkaException, TimeoutError) as error:
                cause = error.args[0] if isinstance(error, KafkaException) else None
                if isinstance(cause, KafkaError) and not cause.retriable() and cause.code() > 0:
                    message = f"the cluster does not delete records of {topic}: {cause.str()}"
                    raise ConflictError(message) from error
                message = f"the broker did not answer: {error}"
                raise UnavailableError(message) from error
