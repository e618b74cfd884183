"""The producing end: never blocks, reports only failures, and knows when the broker is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message

from skysail.topics.broker import FailureCallback
from skysail.topics.errors import PayloadTooLargeError, RejectedError, UnavailableError
from skysail.topics.kafka.config import producer_config
from skysail.topics.kafka.stall import StallWatch
from skysail.topics.records import Header

__all__ = ["KafkaProducer"]

#: A poll that waits does not see that records were stored, only that some were not: a flush looks this often.
_LOOK_S = 0.0002
#: After a fatal error, records given up are reported within this time.
_PURGE_S = 0.2


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
        self._has_failed = False
        self._making = threading.Lock()
        self._in_doubt = False
        self._sent = 0
        self._stall = StallWatch()

    @property
    def available(self) -> bool:
        """False from the moment that no broker is connected, or a probe failed, until a probe succeeds."""
        return self._available

    @property
    def in_doubt(self) -> bool:
        """True from the moment that records wait and none is settled for half a second, until a probe."""
        return self._in_doubt

    def _client(self) -> confluent_kafka.Producer:
        with self._making:  # `learn` and `probe` come from other threads, several at a time
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
        self._sent += 1

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._note_fatal(error)
            self._on_failure(message.key(), error.str())

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - confluent's name for it
            self._available = False
        self._note_fatal(error)

    def _note_fatal(self, error: KafkaError) -> None:
        if error.fatal():
            self._has_failed = True

    def poll(self) -> None:
        """Serve delivery failures and errors."""
        if self._producer is not None:
            self._serve(self._producer, 0)
            if self._stall.is_stalled(self._sent, len(self._producer), time.monotonic()):
                self._in_doubt = True
        if self._has_failed:
            self._start_anew()

    def _serve(self, producer: confluent_kafka.Producer, timeout_s: float) -> None:
        try:
            producer.poll(timeout_s)
        except KafkaException as error:  # confluent raises a fatal error here instead of calling back
            self._note_fatal(error.args[0])

    def _start_anew(self) -> None:
        """After a fatal error an idempotent producer refuses all work: the next send makes another one."""
        failed, self._producer, self._has_failed = self._producer, None, False
        if failed is not None:
            failed.purge(in_queue=True, in_flight=True, blocking=False)
            limit = time.monotonic() + _PURGE_S
            while len(failed) and time.monotonic() < limit:  # what it held is reported
                self._serve(failed, 0.01)

    def abandon(self) -> None:
        """Purge what is queued or in flight; each record is reported as a failure by the next `poll`."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self.poll()

    def probe(self, timeout_s: float) -> bool:
        """Ask for metadata."""
        self._in_doubt = False
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
        # Not with confluent's flush: when it meets a fatal error it goes on calling back with an exception pending.
        limit = time.monotonic() + timeout_s
        while self._producer is not None and len(self._producer) and time.monotonic() < limit:
            self.poll()
            time.sleep(_LOOK_S)
        return len(self._producer) if self._producer is not None else 0

    def close(self) -> None:
        """Flush for up to two seconds and disconnect."""
        if self._producer is not None:
            self.flush(2)
            self._producer = None
