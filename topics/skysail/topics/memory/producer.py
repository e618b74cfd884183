"""The producing end of the in-memory broker."""

from __future__ import annotations

from skysail.topics.broker import FailureCallback
from skysail.topics.errors import PayloadTooLargeError
from skysail.topics.kafka.config import MAX_RECORD_BYTES
from skysail.topics.memory.cluster import Cluster
from skysail.topics.records import Header

__all__ = ["MemoryProducer"]


class MemoryProducer:
    """A `RecordProducer`. A record is stored, or has failed, when `send` returns; failures are told by `poll`."""

    def __init__(self, cluster: Cluster, on_failure: FailureCallback) -> None:
        self._cluster = cluster
        self._on_failure = on_failure
        self._failures: list[tuple[bytes | None, str]] = []

    @property
    def available(self) -> bool:
        """False while the broker is stopped."""
        return self._cluster.running

    @property
    def in_doubt(self) -> bool:
        """Never: records do not wait."""
        return False

    def send(self, topic: str, partition: int, value: bytes, key: bytes | None, headers: list[Header]) -> None:
        """Store a record.

        Raises:
            PayloadTooLargeError: when it is larger than Kafka would take.
        """
        if len(value) > MAX_RECORD_BYTES:
            message = f"the record is larger than {MAX_RECORD_BYTES} bytes"
            raise PayloadTooLargeError(message)
        if not self._cluster.append(topic, partition, value, key, headers):
            reason = f"there is no {topic}/{partition}" if self.available else "the broker is away"
            self._failures.append((key, reason))

    def poll(self) -> None:
        """Report failures."""
        failures, self._failures = self._failures, []
        for key, reason in failures:
            self._on_failure(key, reason)

    def abandon(self) -> None:
        """Report failures; nothing is ever queued."""
        self.poll()

    def probe(self, timeout_s: float) -> bool:
        """Wait for the broker to be there."""
        with self._cluster.changed:
            return self._cluster.changed.wait_for(lambda: self._cluster.running, timeout_s)

    def learn(self, topic: str, timeout_s: float) -> bool:
        """Whether the topic exists, once the broker is there."""
        return self.probe(timeout_s) and topic in self._cluster.topics

    def flush(self, timeout_s: float) -> int:  # noqa: ARG002 - nothing to wait for
        """Report failures; nothing is ever queued."""
        self.poll()
        return 0

    def close(self) -> None:
        """Report failures."""
        self.poll()
