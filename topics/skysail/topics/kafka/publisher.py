"""Publishing with a receipt: returns when the broker has stored the record. For what is rare and must not be lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.config import producer_config
from skysail.topics.records import Header

__all__ = ["Publisher"]

_POLL_S = 0.05


class Publisher:
    """An idempotent producer whose `publish` blocks. Threads may share it; it connects on first use."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._config = {**producer_config(properties), "delivery.report.only.error": False}
        self._producer: confluent_kafka.Producer | None = None
        self._lock = threading.Lock()

    def publish(self, topic: str, value: bytes, key: bytes | None, headers: list[Header], timeout_s: float) -> None:
        """Store one record.

        Raises:
            UnavailableError: when the broker did not confirm it within `timeout_s`; it may be stored all the same.
        """
        receipt: list[KafkaError | None] = []
        with self._lock:
            if self._producer is None:
                self._producer = confluent_kafka.Producer(self._config)
            producer: Any = self._producer  # its stub wants an invariant list of headers
        try:
            producer.produce(topic, value, key, on_delivery=lambda error, _: receipt.append(error), headers=headers)
        except (BufferError, KafkaException) as error:
            message = f"the broker did not take the record: {error}"
            raise UnavailableError(message) from error
        limit = time.monotonic() + timeout_s
        while not receipt and time.monotonic() < limit:
            producer.poll(_POLL_S)
        if not receipt or receipt[0] is not None:
            reason = receipt[0].str() if receipt and receipt[0] is not None else f"no answer within {timeout_s} s"
            message = f"the broker did not store the record: {reason}"
            raise UnavailableError(message)

    def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            self._producer.flush(1)
            self._producer = None
