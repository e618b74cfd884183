from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from skysail.topics.errors import DecodeError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ModelSpec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry, RegistrySnapshot
from skysail.topics.store.view import RegistryView
from tests.services import Redis
from tests.services.factory import Factory
from tests.waiting import wait_until_async

V1 = ModelSpec(name="digits", version="1")


class Watched:
    """A view and every picture that it told of."""

    def __init__(self, url: str, keys: KeyNames) -> None:
        self.told: list[RegistrySnapshot] = []
        self.view = RegistryView(url, keys, self.told.append)

    async def until(self, version: str) -> None:
        def is_current() -> bool:
            return self.view.snapshot.current == {"digits": version}

        await wait_until_async(is_current, 15, lambda: f"version {version}: {self.told[-1:]}")


@pytest.fixture
async def watched(store: Redis, keys: KeyNames) -> AsyncIterator[Watched]:
    watched = Watched(store.url, keys)
    watched.view.start()
    yield watched
    await watched.view.close()


async def test_a_view_is_loaded_from_an_empty_store(watched: Watched) -> None:
    assert await watched.view.wait_loaded(10)
    assert watched.view.loaded
    assert watched.view.snapshot == RegistrySnapshot()
    assert watched.told == [RegistrySnapshot()]


async def test_a_view_follows_and_tells(watched: Watched, client: redis.asyncio.Redis, keys: KeyNames) -> None:
    await watched.view.wait_loaded(10)
    registry = Registry(client, keys)
    await registry.create_model(V1)
    await registry.set_current("digits", "1")
    await watched.until("1")
    assert watched.told[-1] is watched.view.snapshot
    assert watched.view.snapshot.model("digits") == V1


async def test_a_view_that_cannot_reach_the_store_says_why(keys: KeyNames) -> None:
    view = RegistryView("redis://127.0.0.1:1", keys)
    view.start()
    assert not await view.wait_loaded(0.2)
    assert not view.loaded
    assert isinstance(view.last_error, UnavailableError)
    await view.close()


async def test_a_record_that_cannot_be_read_keeps_what_is_known(
    watched: Watched, client: redis.asyncio.Redis, keys: KeyNames
) -> None:
    registry = Registry(client, keys)
    await registry.create_model(V1)
    await registry.set_current("digits", "1")
    await watched.until("1")
    before = watched.view.snapshot
    await client.hset(keys.models, "digits/2", b'{"from":"the future"}')
    await registry.set_current("digits", "2")
    await wait_until_async(lambda: watched.view.last_error is not None, 15, "the error is seen")
    assert isinstance(watched.view.last_error, DecodeError)
    assert watched.view.snapshot is before
    await client.hdel(keys.models, "digits/2")
    await watched.until("2")
    assert watched.view.last_error is None


async def test_the_last_whole_picture_outlives_the_store_and_its_data(
    own_redis: Factory[Redis], keys: KeyNames
) -> None:
    store = own_redis()
    watched = Watched(store.url, keys)
    watched.view.start()
    async with async_store(store.url) as client:
        registry = Registry(client, keys)
        await registry.create_model(V1)
        await registry.set_current("digits", "1")
        await watched.until("1")
        whole = watched.view.snapshot
        store.stop()
        await wait_until_async(lambda: watched.view.last_error is not None, 15, "the store's absence is seen")
        store.lose_data()
        store.start()
        await wait_until_async(lambda: watched.view.last_error is None, 15, "the store is read again")
        assert watched.view.snapshot is whole
        assert watched.told[-1] is whole
        await registry.restore(whole)
        await registry.set_current("digits", "2")
        await watched.until("2")
    await watched.view.close()
