"""Topic administration: what Skysail creates, and with which limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from skysail.topics.errors import ConflictError, UnavailableError
from skysail.topics.kafka.config import MAX_RECORD_BYTES, client_config

__all__ = ["TopicAdmin"]

_TIMEOUT_S = 10.0


class TopicAdmin:
    """Creates, lists and deletes topics. Each call runs librdkafka's own thread; none blocks the event loop."""

    def __init__(self, properties: Mapping[str, Any], replication_factor: int = -1) -> None:
        self._config = client_config(properties)
        self._replication_factor = replication_factor
        self._admin: AdminClient | None = None

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._config)
        return self._admin

    async def create(self, partitions: Mapping[str, int]) -> None:
        """Make sure that each topic exists, with so many partitions; one that exists already is a success.

        Raises:
            UnavailableError: when the broker does not answer.
            ConflictError: when the cluster refuses the topic; the text says why.
        """
        config = {"max.message.bytes": str(MAX_RECORD_BYTES)}
        new = [NewTopic(name, count, self._replication_factor, config=config) for name, count in partitions.items()]
        if new:
            await asyncio.to_thread(self._settle, self._client().create_topics, new, KafkaError.TOPIC_ALREADY_EXISTS)

    async def delete(self, topics: list[str]) -> None:
        """Delete topics; one that does not exist is a success."""
        if topics:
            await asyncio.to_thread(
                self._settle, self._client().delete_topics, topics, KafkaError.UNKNOWN_TOPIC_OR_PART
            )

    def _settle(self, call: Any, argument: list[Any], fine: int) -> None:
        try:
            futures = call(argument, operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S)
            results = {name: future.exception(timeout=_TIMEOUT_S + 1) for name, future in futures.items()}
        except (KafkaException, TimeoutError) as error:
            message = f"the broker did not answer: {error}"
            raise UnavailableError(message) from error
        for name, refusal in results.items():
            if refusal is not None:
                _raise_unless(name, refusal, fine)

    async def partitions(self, topic: str) -> int | None:
        """How many partitions a topic has; None when it does not exist.

        Raises:
            UnavailableError: when the broker does not answer.
        """
        return await asyncio.to_thread(self._partitions, topic)

    def _partitions(self, topic: str) -> int | None:
        try:
            found = self._client().list_topics(topic, timeout=_TIMEOUT_S).topics.get(topic)
        except KafkaException as error:
            raise UnavailableError(error.args[0].str()) from error
        return len(found.partitions) if found is not None and found.error is None else None


def _raise_unless(topic: str, error: BaseException, fine: int) -> None:
    cause = error.args[0] if isinstance(error, KafkaException) else None
    if cause is not None and cause.code() == fine:
        return
    if cause is not None and not cause.retriable() and cause.code() > 0:
        message = f"the cluster refuses topic {topic}: {cause.str()}"
        raise ConflictError(message) from error
    message = f"topic {topic}: {error}"
    raise UnavailableError(message) from error
