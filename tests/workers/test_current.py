"""Following the current version in a real store, and what a worker subscribes to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.specs import ModelSpec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from skysail.workers.current import CurrentFollower
from skysail.workers.subscription import Subscription
from tests.services import Redis
from tests.services.factory import Factory
from tests.waiting import wait_until_async


class Seen:
    """A follower that is running, and the versions that it told of."""

    def __init__(self, url: str, namespace: str) -> None:
        self.versions: list[str | None] = []
        self.follower = CurrentFollower(url, KeyNames(namespace), "m", self.versions.append)
        self.follower.start()

    async def reaches(self, *versions: str | None, timeout_s: float = 10) -> None:
        await wait_until_async(lambda: self.versions == [*versions], timeout_s, lambda: f"{versions}: {self.versions}")


@pytest.fixture
def seen(redis_server: Redis, namespace: str) -> Iterator[Seen]:
    watching = Seen(redis_server.url, namespace)
    yield watching
    watching.follower.stop()


async def test_every_move_of_the_pointer_is_told_and_nothing_else(
    redis_server: Redis, namespace: str, seen: Seen
) -> None:
    store = async_store(redis_server.url)
    registry = Registry(store, KeyNames(namespace))
    await registry.set_current("m", "1")
    await seen.reaches("1")
    await registry.set_current("other", "9")
    await registry.create_model(ModelSpec(name="m", version="2"))
    await registry.set_current("m", "2")
    await seen.reaches("1", "2")
    await registry.clear_current("m")
    await seen.reaches("1", "2", None)
    await store.aclose()


async def test_a_pointer_that_is_there_already_is_known_when_start_returns(redis_server: Redis, namespace: str) -> None:
    store = async_store(redis_server.url)
    await Registry(store, KeyNames(namespace)).set_current("m", "1")
    seen = Seen(redis_server.url, namespace)
    assert seen.versions == ["1"]
    seen.follower.stop()
    await store.aclose()


async def test_the_last_known_pointer_stays_when_the_store_loses_its_data(own_redis: Factory[Redis]) -> None:
    server = own_redis()
    store = async_store(server.url)
    registry = Registry(store, KeyNames("t"))
    await registry.set_current("m", "1")
    seen = Seen(server.url, "t")
    server.restart(keep_data=False)
    await wait_until_async(lambda: _has_set(registry), 20, "the store is back and has the new pointer")
    await seen.reaches("1", "2")
    seen.follower.stop()
    await store.aclose()


async def test_a_store_that_is_a_replica_for_a_while_is_followed_afterwards(own_redis: Factory[Redis]) -> None:
    server = own_redis()
    store = async_store(server.url)
    registry = Registry(store, KeyNames("t"))
    await registry.set_current("m", "1")
    seen = Seen(server.url, "t")
    await store.replicaof("127.0.0.1", 1)  # of nobody, so that it keeps its data
    await store.replicaof("NO", "ONE")
    await registry.set_current("m", "2")
    await seen.reaches("1", "2")
    seen.follower.stop()
    await store.aclose()


async def _has_set(registry: Registry) -> bool:
    await registry.set_current("m", "2")
    return True


def test_the_models_topic_is_read_only_while_the_version_is_current() -> None:
    topics = TopicNames("t")
    subscription = Subscription(topics, ModelSpec(name="m", version="2"))
    own, shared = topics.version("m", "2"), topics.model("m")
    assert subscription.changed() == [own]
    assert subscription.changed() is None
    subscription.set_current("2")
    assert subscription.changed() == [own, shared]
    subscription.set_current("3")
    subscription.set_current("2")
    assert subscription.changed() is None
    subscription.set_current(None)
    assert subscription.changed() == [own]
