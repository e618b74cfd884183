"""The servers that tests run against: Apache Kafka, Redis, and the embedded broker and store."""

from tests.services.embedded import Tansu, Valkey
from tests.services.kafka import Kafka
from tests.services.redis import Redis
from tests.services.service import Service

__all__ = ["Kafka", "Redis", "Service", "Tansu", "Valkey"]
