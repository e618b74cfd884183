"""A bare consume-produce loop on librdkafka, as one would write it without Skysail: `python -m … ADDRESS IN OUT COUNT`.

With Skysail's own client settings: idempotent producer, everything flushed before the offsets are committed, commits
every 100 ms.
"""

from __future__ import annotations

import sys
import time

import confluent_kafka

from skysail.topics.kafka.config import consumer_config, producer_config

__all__ = ["pump"]

_COMMIT_S = 0.1
_BATCH = 1024


def pump(address: str, source: str, sink: str, count: int) -> None:
    """Copy `count` records from one topic to another."""
    properties = {"bootstrap.servers": address}
    consumer = confluent_kafka.Consumer(consumer_config(properties, f"bare-{sink}"))
    producer = confluent_kafka.Producer(producer_config(properties))
    consumer.subscribe([source])
    copied, commit_at_s = 0, time.monotonic() + _COMMIT_S
    while copied < count:
        first = consumer.poll(0.25)
        if first is None:
            continue
        messages = [first, *consumer.consume(_BATCH - 1, 0)]
        for message in messages:
            if message.error() is not None:
                raise confluent_kafka.KafkaException(message.error())
            producer.produce(sink, message.value(), message.key())
        if producer.flush(10):
            text = "records were not stored"
            raise RuntimeError(text)
        for message in messages:
            consumer.store_offsets(message)
        copied += len(messages)
        if time.monotonic() >= commit_at_s:
            consumer.commit(asynchronous=True)
            commit_at_s = time.monotonic() + _COMMIT_S
    consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    pump(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
