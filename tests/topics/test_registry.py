from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import redis.asyncio

from skysail.topics.errors import ConflictError, NoModelError, NotFoundError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry, RegistrySnapshot
from tests.services import Redis
from tests.services.factory import Factory

APP = ApplicationSpec(name="shop")
V1 = ModelSpec(name="digits", version="1")
V2 = ModelSpec(name="digits", version="2", replicas=2)


@pytest.fixture
def registry(client: redis.asyncio.Redis, keys: KeyNames) -> Registry:
    return Registry(client, keys)


async def test_an_empty_store_is_an_empty_registry_that_is_not_whole(registry: Registry) -> None:
    assert await registry.snapshot() == RegistrySnapshot()


async def test_what_is_registered_is_in_the_snapshot(registry: Registry) -> None:
    await registry.create_app(APP)
    await registry.create_model(V1)
    await registry.create_model(V2)
    await registry.put_link(Link(app="shop", models=("digits",)))
    await registry.set_current("digits", "2")
    snapshot = await registry.snapshot()
    assert snapshot.whole
    assert snapshot.apps == {"shop": APP}
    assert snapshot.models == {"digits": {"1": V1, "2": V2}}
    assert snapshot.links == {"shop": Link(app="shop", models=("digits",))}
    assert snapshot.current == {"digits": "2"}
    assert snapshot.model("digits") == V2
    assert snapshot.model("digits", "1") == V1


async def test_nothing_is_registered_twice(registry: Registry) -> None:
    await registry.create_app(APP)
    await registry.create_model(V1)
    before = await registry.snapshot()
    with pytest.raises(ConflictError, match="'shop' is registered"):
        await registry.create_app(ApplicationSpec(name="shop", cache_ttl_s=1))
    with pytest.raises(ConflictError, match=r"'digits' has a version '1' already; versions are immutable"):
        await registry.create_model(ModelSpec(name="digits", version="1", replicas=9))
    assert await registry.snapshot() == before, "a refusal leaves no trace, not in the change stream either"


async def test_of_many_who_create_the_same_one_wins(registry: Registry) -> None:
    specs = [ModelSpec(name="digits", version="1", labels=(f"{number}",)) for number in range(20)]
    results = await asyncio.gather(*[registry.create_model(spec) for spec in specs], return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ConflictError"] * 19 + ["NoneType"]
    assert (await registry.snapshot()).model("digits", "1") == specs[results.index(None)]


async def test_what_is_deleted_is_gone(registry: Registry) -> None:
    await registry.create_app(APP)
    await registry.create_model(V1)
    await registry.put_link(Link(app="shop", models=("digits",)))
    await registry.set_current("digits", "1")
    await registry.clear_current("digits")
    await registry.delete_model("digits", "1")
    await registry.delete_app("shop")
    snapshot = await registry.snapshot()
    assert (snapshot.apps, snapshot.models, snapshot.links, snapshot.current) == ({}, {}, {}, {})
    assert snapshot.whole, "an empty registry is not a lost one"


ABSENT: list[tuple[Callable[[Registry], Awaitable[None]], str]] = [
    (lambda registry: registry.delete_app("shop"), "no application is named 'shop'"),
    (lambda registry: registry.delete_link("shop"), "application 'shop' is not linked"),
    (lambda registry: registry.delete_model("digits", "1"), "model 'digits' has no version '1'"),
    (lambda registry: registry.clear_current("digits"), "model 'digits' has no current version"),
]


@pytest.mark.parametrize(("delete", "told"), ABSENT)
async def test_what_is_not_there_cannot_be_deleted(
    registry: Registry, delete: Callable[[Registry], Awaitable[None]], told: str
) -> None:
    await registry.create_model(V2)
    with pytest.raises(NotFoundError, match=told):
        await delete(registry)
    assert (await registry.snapshot()).models == {"digits": {"2": V2}}


def test_a_model_that_is_not_there_is_named() -> None:
    snapshot = RegistrySnapshot(models={"digits": {"1": V1}, "gone": {}}, current={"gone": "1"})
    for name, version, told in [
        ("none", None, "no model is named 'none'"),
        ("gone", None, "no model is named 'gone'"),
        ("digits", None, "model 'digits' has no current version"),
        ("digits", "9", "Requested version: 9 does not exist for model: digits"),
    ]:
        with pytest.raises(NoModelError, match=told):
            snapshot.model(name, version)


@pytest.fixture
async def follower(store: Redis, keys: KeyNames) -> AsyncIterator[AsyncIterator[RegistrySnapshot]]:
    async with async_store(store.url, socket_timeout=10) as client:
        follower = Registry(client, keys).follow(block_ms=100)
        yield follower
        await follower.aclose()  # type: ignore[attr-defined]


async def test_a_follower_sees_each_change_when_it_is_made(
    registry: Registry, follower: AsyncIterator[RegistrySnapshot]
) -> None:
    async def next_snapshot() -> RegistrySnapshot:
        return await asyncio.wait_for(anext(follower), 10)

    assert not (await next_snapshot()).whole
    await registry.create_app(APP)
    assert (await next_snapshot()).apps == {"shop": APP}
    await registry.create_model(V1)
    assert (await next_snapshot()).models == {"digits": {"1": V1}}
    await registry.set_current("digits", "1")
    assert (await next_snapshot()).current == {"digits": "1"}
    await registry.put_link(Link(app="shop", models=("digits",)))
    assert "shop" in (await next_snapshot()).links
    await registry.replace_model(ModelSpec(name="digits", version="1", replicas=5))
    assert (await next_snapshot()).model("digits").replicas == 5
    await registry.delete_link("shop")
    assert (await next_snapshot()).links == {}
    await registry.delete_model("digits", "1")
    assert (await next_snapshot()).models == {}


async def test_a_follower_misses_no_change_that_is_made_while_it_is_busy(
    registry: Registry, follower: AsyncIterator[RegistrySnapshot]
) -> None:
    await anext(follower)
    for number in range(1200):  # more than the change stream keeps
        await registry.set_current("digits", str(number))
    snapshot = await asyncio.wait_for(anext(follower), 10)
    assert snapshot.current == {"digits": "1199"}


async def test_a_store_that_lost_its_data_is_seen_and_can_be_restored(
    registry: Registry,
    follower: AsyncIterator[RegistrySnapshot],
    client: redis.asyncio.Redis,
    keys: KeyNames,
    namespace: str,
) -> None:
    await registry.create_app(APP)
    await registry.create_model(V1)
    await registry.put_link(Link(app="shop", models=("digits",)))
    await registry.set_current("digits", "1")
    whole = await anext(follower)
    lost = [key async for key in client.scan_iter(f"skysail:{namespace}:*", count=1000)]
    await client.delete(*lost)
    seen = await asyncio.wait_for(anext(follower), 10)
    assert (seen.whole, seen.models) == (False, {})
    await registry.restore(whole)
    restored = await asyncio.wait_for(anext(follower), 10)
    assert restored.whole
    assert (restored.apps, restored.models, restored.links, restored.current) == (
        whole.apps,
        whole.models,
        whole.links,
        whole.current,
    )
    assert await client.exists(keys.epoch)


async def test_a_registry_whose_store_is_away_is_unavailable(own_redis: Factory[Redis], keys: KeyNames) -> None:
    store = own_redis()
    async with async_store(store.url) as client:
        registry = Registry(client, keys)
        await registry.create_model(V1)
        follower = registry.follow(block_ms=100)
        await anext(follower)
        store.stop()
        for use in (
            anext(follower),
            registry.snapshot(),
            registry.create_app(APP),
            registry.set_current("digits", "1"),
            registry.delete_model("digits", "1"),
            registry.restore(RegistrySnapshot()),
        ):
            with pytest.raises(UnavailableError, match="the store is away"):
                await use
