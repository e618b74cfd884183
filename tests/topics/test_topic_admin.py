from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from skysail.topics.errors import ConflictError, UnavailableError
from skysail.topics.kafka.config import MAX_RECORD_BYTES
from skysail.topics.kafka.topics import TopicAdmin
from tests.services import Kafka
from tests.waiting import wait_until_async


@pytest.fixture
def admin(kafka: Kafka) -> TopicAdmin:
    return TopicAdmin({"bootstrap.servers": kafka.address})


async def test_a_topic_has_the_partitions_and_the_limit_that_it_was_made_with(
    kafka: Kafka, admin: TopicAdmin, namespace: str
) -> None:
    await admin.create({f"{namespace}.a": 3, f"{namespace}.b": 1})
    assert await admin.partitions(f"{namespace}.a") == 3
    assert await admin.partitions(f"{namespace}.b") == 1
    client = AdminClient({"bootstrap.servers": kafka.address})
    (described,) = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, f"{namespace}.a")]).values()
    assert described.result()["max.message.bytes"].value == str(MAX_RECORD_BYTES)


async def test_creating_what_exists_and_deleting_what_does_not_are_successes(admin: TopicAdmin, namespace: str) -> None:
    await admin.create({namespace: 3})
    await admin.create({namespace: 5})
    assert await admin.partitions(namespace) == 3
    await admin.delete([namespace])

    async def is_gone() -> bool:
        return await admin.partitions(namespace) is None

    await wait_until_async(is_gone, 10, "the topic is gone")
    await admin.delete([namespace])
    await admin.create({})
    await admin.delete([])


async def test_a_topic_that_is_not_there_has_no_partitions(admin: TopicAdmin, namespace: str) -> None:
    assert await admin.partitions(namespace) is None


async def test_a_topic_that_the_cluster_refuses_is_a_conflict_that_says_why(kafka: Kafka, namespace: str) -> None:
    admin = TopicAdmin({"bootstrap.servers": kafka.address}, replication_factor=3)
    with pytest.raises(ConflictError, match=f"the cluster refuses topic {namespace}: .*[Rr]eplication"):
        await admin.create({namespace: 1})
    with pytest.raises(ConflictError, match="the cluster refuses topic a b"):
        await admin.create({"a b": 1})


async def test_a_broker_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch, namespace: str) -> None:
    monkeypatch.setattr("skysail.topics.kafka.topics._TIMEOUT_S", 0.5)
    admin = TopicAdmin({"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(UnavailableError):
        await admin.create({namespace: 1})
    with pytest.raises(UnavailableError):
        await admin.delete([namespace])
    with pytest.raises(UnavailableError):
        await admin.partitions(namespace)
