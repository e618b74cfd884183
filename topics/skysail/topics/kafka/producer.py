"""The producing end: never blocks, reports only failures, and knows when the broker is away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message

from skysail.topics.broker import FailureCallback
from skysail.topics.errors import PayloadTooLargeError, RejectedError, UnavailableError
from skysail.topics.kafka.config import producer_config
from skysail.topics.records import Header

__all__ = ["KafkaProducer"]


class KafkaProducer:
    """A `RecordProducer` on librdkafka. Connects on the first use, not in the constructor.

    Args:
        properties: librdkafka properties, `bootstrap.servers` among them.
        on_failure: told the key of each record that was not stored.
    """

    def __init__(self, properties: Mapping[str, Any], on_failure: FailureCallback) -> None:
        self._config = producer_config(properties)
        self._on_failure = on_failure
        self._producer: confluent_kafka.Producer | None = None
        self._available = True

    @property
    def available(self) -> bool:
        """False from the moment that no broker is connected until one answers again."""
        return self._available

    def _client(self) -> confluent_kafka.Producer:
        if self._producer is None:
            self._producer = confluent_kafka.Producer({**self._config, "error_cb": self._on_error})
        return self._producer

    def send(self, topic: str, partition: int, value: bytes, key: bytes | None, headers: list[Header]) -> None:
        """Hand a record over.

        Raises:
            RejectedError: when librdkafka's queue is full.
            PayloadTooLargeError: when the record is larger than `message.max.bytes`.
            UnavailableError: for any other refusal.
        """
        producer = self._producer or self._client()
        try:
            producer.produce(topic, value, key, partition, on_delivery=self._on_delivery, headers=headers)  # type: ignore[arg-type]  # lists are invariant
        except BufferError:
            message = "the producer's queue is full"
            raise RejectedError(message) from None
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                message = f"the record is larger than {self._config['message.max.bytes']} bytes"
                raise PayloadTooLargeError(message) from None
            self._note_fatal(cause)
            raise UnavailableError(cause.str()) from None

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._note_fatal(error)
            self._on_failure(message.key(), error.str())

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - confluent's name for it
            self._available = False
        self._note_fatal(error)

    def _note_fatal(self, error: KafkaError) -> None:
        # An idempotent producer that met a fatal error refuses all work: the next send starts a new one.
        if error.fatal() and self._producer is not None:
            self._producer = None

    def poll(self) -> None:
        """Serve delivery failures and errors."""
        if self._producer is not None:
            self._producer.poll(0)

    def abandon(self) -> None:
        """Purge what is queued or in flight; each record is reported as a failure by the next `poll`."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer.poll(0)

    def probe(self, timeout_s: float) -> bool:
        """Ask for metadata."""
        try:
            self._client().list_topics(timeout=timeout_s)
        except KafkaException:
            self._available = False
        else:
            self._available = True
        return self._available

    def learn(self, topic: str, timeout_s: float) -> bool:
        """Fetch a topic's metadata ahead of its first record; whether the topic exists. Blocks."""
        try:
            found = self._client().list_topics(topic, timeout=timeout_s).topics.get(topic)
        except KafkaException:
            return False
        return found is not None and found.error is None

    def flush(self, timeout_s: float) -> int:
        """Wait until all is stored; how many records are not."""
        return self._producer.flush(timeout_s) if self._producer is not None else 0

    def close(self) -> None:
        """Flush for up to two seconds and disconnect."""
        if self._producer is not None:
            self._producer.flush(2)
            self._producer = None
