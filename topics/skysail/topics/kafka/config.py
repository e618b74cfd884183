"""librdkafka properties that Skysail relies on, below those of the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["MAX_RECORD_BYTES", "client_config", "consumer_config", "producer_config"]

#: Largest record, key and headers included; topics are created with the same limit.
MAX_RECORD_BYTES = 32 * 1024 * 1024

_COMMON: dict[str, Any] = {
    "client.id": "skysail",
    "socket.keepalive.enable": True,
    "socket.nagle.disable": True,
    "reconnect.backoff.ms": 100,
    # librdkafka would write a line for each failed attempt to connect; errors come through the error callback.
    "log_level": 2,
    "reconnect.backoff.max.ms": 1000,
    "allow.auto.create.topics": False,
    "topic.metadata.refresh.fast.interval.ms": 50,
}

_PRODUCER: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    # The sender gathers by itself under load; at rest a record must leave at once.
    "linger.ms": 0,
    # A caller waits: a record that the broker did not take in this time is reported, not sent later.
    "message.timeout.ms": 2000,
    "message.max.bytes": MAX_RECORD_BYTES,
    "queue.buffering.max.kbytes": 262_144,
    # Served in C for stored records; Python hears of failures alone.
    "delivery.report.only.error": True,
}

_CONSUMER: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    "fetch.wait.max.ms": 500,
    "fetch.error.backoff.ms": 50,
    # The default of one second would be felt as a stall whenever the local queue is full.
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 32_768,
    "fetch.message.max.bytes": 4 * 1024 * 1024,
}

#: User properties that only a consumer knows, left out for producers and the reverse, so that librdkafka need not warn.
_CONSUMER_ONLY = frozenset(
    {
        *_CONSUMER,
        "max.poll.interval.ms",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "isolation.level",
        "fetch.min.bytes",
        "check.crcs",
    }
)
_PRODUCER_ONLY = frozenset(
    {*_PRODUCER, "compression.type", "batch.size", "batch.num.messages", "max.in.flight", "retries", "partitioner"}
)


def client_config(user: Mapping[str, Any]) -> dict[str, Any]:
    """Properties for an admin client."""
    return {**_COMMON, **{name: value for name, value in user.items() if name not in _CONSUMER_ONLY | _PRODUCER_ONLY}}


def producer_config(user: Mapping[str, Any]) -> dict[str, Any]:
    """Properties for a producer: idempotent, `acks=all`, unless the user says otherwise."""
    return {**_COMMON, **_PRODUCER, **{name: value for name, value in user.items() if name not in _CONSUMER_ONLY}}


def consumer_config(user: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Properties for a consumer that commits by itself, after outcomes are stored."""
    own = {name: value for name, value in user.items() if name not in _PRODUCER_ONLY}
    config = {**_COMMON, **_CONSUMER, **own, "group.id": group}
    if str(config.get("group.protocol", "classic")).lower() == "consumer":  # KIP-848: the broker decides these
        for name in ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"):
            config.pop(name, None)
    return config
