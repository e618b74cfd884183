"""The worker's ends to the broker: a consumer, a producer, and the making of dead-letter topics."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from skysail.topics.broker import (
    CommitFailureCallback,
    FailureCallback,
    RebalanceListener,
    RecordConsumer,
    RecordProducer,
)
from skysail.topics.errors import ConflictError, UnavailableError
from skysail.topics.kafka.consumer import KafkaConsumer
from skysail.topics.kafka.producer import KafkaProducer
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.settings import KafkaSettings
from skysail.workers.damped import Damped

__all__ = ["BrokerEnds", "KafkaEnds"]

_log = structlog.get_logger(__name__)


class BrokerEnds(Protocol):
    """Makes what a worker needs of a broker."""

    def consumer(
        self, group: str, listener: RebalanceListener, on_commit_failure: CommitFailureCallback
    ) -> RecordConsumer:
        """A member of the group, once it subscribes."""
        ...

    def producer(self, on_failure: FailureCallback) -> RecordProducer:
        """A producer of replies and dead letters."""
        ...

    def make_topic(self, topic: str) -> str | None:
        """Create a topic for dead letters; None when it is there now, else why it is not."""
        ...


class KafkaEnds:
    """The ends to Kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._properties = settings.librdkafka()
        self._replication_factor = settings.replication_factor

    def consumer(
        self, group: str, listener: RebalanceListener, on_commit_failure: CommitFailureCallback
    ) -> KafkaConsumer:
        """Connects when it subscribes."""
        return KafkaConsumer(
            self._properties,
            group,
            listener,
            on_error=Damped(_log, "consumer_error"),
            on_commit_failure=on_commit_failure,
        )

    def producer(self, on_failure: FailureCallback) -> KafkaProducer:
        """Connects when it is used."""
        return KafkaProducer(self._properties, on_failure)

    def make_topic(self, topic: str) -> str | None:
        """Create a topic of one partition: dead letters are few, and read in order."""
        admin = TopicAdmin(self._properties, self._replication_factor)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(admin.create({topic: 1}))
        except (ConflictError, UnavailableError) as error:
            return str(error)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        _log.info("dead_letter_topic_made", topic=topic)
        return None
