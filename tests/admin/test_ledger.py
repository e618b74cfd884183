"""Registry and mirror, written together, on a real Redis."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from skysail.admin.ending import end_tasks
from skysail.admin.mirror import Mirror, MirrorFile
from skysail.admin.service.ledger import Ledger
from skysail.topics.errors import ArtifactError, ConflictError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from tests.services import Redis
from tests.services.factory import Factory
from tests.waiting import wait_until_async


class Bench:
    """A ledger, and both things that it keeps the same."""

    def __init__(self, store: redis.asyncio.Redis, namespace: str, artifacts: Path) -> None:
        self.store = store
        self.keys = KeyNames(namespace)
        self.registry = Registry(store, self.keys)
        self.mirror = MirrorFile(artifacts, namespace)
        self.ledger = Ledger(self.registry, self.mirror)

    async def add_app(self, name: str) -> None:
        async with self.ledger.writing() as (registry, _):
            await registry.create_app(ApplicationSpec(name=name))

    async def add_model(self, name: str, version: str) -> None:
        async with self.ledger.writing() as (registry, _):
            await registry.create_model(ModelSpec(name=name, version=version))
            await registry.set_current(name, version)

    async def lose(self) -> None:
        """What the store held of this namespace is gone."""
        keys = self.keys
        await self.store.delete(keys.apps, keys.models, keys.links, keys.current, keys.changes, keys.epoch)

    async def dump(self) -> dict[Any, Any]:
        """What the store holds of this namespace now."""
        keys = await self.store.keys(self.keys.apps.removesuffix("apps") + "*")
        return {key: await self.store.dump(key) for key in keys}

    async def go_back_to(self, dump: dict[Any, Any]) -> None:
        """The store holds that again."""
        await self.lose()
        for key, data in dump.items():
            await self.store.restore(key, 0, data)

    async def holds(self, *apps: str) -> bool:
        """Whether these applications are registered; not while the store is away."""
        try:
            return await self.apps() == set(apps)
        except UnavailableError:
            return False

    async def apps(self) -> set[str]:
        return set((await self.registry.snapshot()).apps)


@pytest.fixture
async def bench(redis_server: Redis, namespace: str, tmp_path: Path) -> AsyncIterator[Bench]:
    store = async_store(redis_server.url, socket_timeout=5)
    yield Bench(store, namespace, tmp_path)
    await store.aclose()


async def test_what_is_written_is_mirrored(bench: Bench) -> None:
    await bench.add_app("a")
    await bench.add_model("m", "1")
    mirror = bench.mirror.load()
    snapshot = await bench.ledger.snapshot()
    assert mirror.snapshot().apps == snapshot.apps
    assert mirror.snapshot().models == snapshot.models
    assert mirror.change_id == snapshot.change_id
    assert await bench.ledger.history("m") == ["1"]
    assert await bench.ledger.history("unheard-of") == []


async def test_a_write_that_fails_is_not_mirrored(bench: Bench) -> None:
    await bench.add_app("a")
    before = bench.mirror.load()
    with pytest.raises(ConflictError):
        await bench.add_app("a")
    assert bench.mirror.load() == before


async def test_writes_come_one_after_another(bench: Bench) -> None:
    await asyncio.gather(*(bench.add_app(f"app-{number}") for number in range(10)))
    assert set(bench.mirror.load().snapshot().apps) == await bench.apps() == {f"app-{number}" for number in range(10)}


async def test_a_store_without_the_registry_is_given_it_back(bench: Bench) -> None:
    await bench.add_app("a")
    await bench.add_model("m", "1")
    await bench.add_model("m", "2")
    before = await bench.ledger.snapshot()
    await bench.lose()
    after = await bench.ledger.reconcile()
    assert (after.apps, after.models, after.current, after.whole) == (
        before.apps,
        before.models,
        before.current,
        True,
    )
    assert await bench.ledger.history("m") == ["1", "2"]
    assert bench.mirror.load().change_id == after.change_id


async def test_an_empty_store_with_an_empty_mirror_stays_empty(bench: Bench) -> None:
    assert not (await bench.ledger.reconcile()).whole
    assert not bench.mirror.path.exists()


async def test_a_change_to_an_empty_store_comes_on_top_of_what_it_has_lost(bench: Bench) -> None:
    await bench.add_app("a")
    await bench.lose()
    await bench.add_app("b")
    assert await bench.apps() == {"a", "b"}
    assert set(bench.mirror.load().snapshot().apps) == {"a", "b"}


async def test_a_store_that_came_back_without_its_last_changes_is_given_them_again(bench: Bench) -> None:
    """An append-only file that is synchronised each second may lose the last one."""
    await bench.add_app("kept")
    await bench.add_app("deleted")
    await bench.add_model("gone", "1")
    async with bench.ledger.writing() as (registry, _):
        await registry.put_link(Link(app="deleted", models=("gone",)))
    dump = {
        key: await bench.store.dump(key) for key in await bench.store.keys(bench.keys.apps.rpartition(":")[0] + "*")
    }
    await bench.add_app("added")
    async with bench.ledger.writing() as (registry, _):
        await registry.delete_app("deleted")
        await registry.clear_current("gone")
        await registry.delete_model("gone", "1")
    await bench.go_back_to(dump)
    assert await bench.apps() == {"kept", "deleted"}
    after = await bench.ledger.reconcile()
    assert set(after.apps) == {"kept", "added"}
    assert (after.links, after.models, after.current) == ({}, {}, {})


async def test_a_mirror_that_is_behind_is_written_anew(bench: Bench) -> None:
    """The process ended between a write and its mirror."""
    await bench.add_app("a")
    await bench.registry.create_app(ApplicationSpec(name="b"))
    await bench.ledger.reconcile()
    assert set(bench.mirror.load().snapshot().apps) == {"a", "b"}


async def test_a_mirror_that_cannot_be_read_stops_every_write(bench: Bench) -> None:
    await bench.add_app("a")
    bench.mirror.path.write_bytes(b"{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        await bench.add_app("b")
    assert await bench.apps() == {"a"}
    assert bench.mirror.path.read_bytes() == b"{"


async def test_the_keeper_restores_a_registry_within_seconds_without_being_asked(bench: Bench) -> None:
    await bench.add_app("a")
    keeper = asyncio.create_task(bench.ledger.keep())
    try:
        await bench.lose()
        await wait_until_async(bench.apps, 5, "the registry is back")
        await bench.lose()
        await wait_until_async(bench.apps, 5, "and once more")
    finally:
        await end_tasks([keeper])


async def test_the_keeper_goes_on_after_the_store_was_away(
    own_redis: Factory[Redis], namespace: str, tmp_path: Path
) -> None:
    server = own_redis()
    store = async_store(server.url, socket_timeout=5)
    bench = Bench(store, namespace, tmp_path)
    await bench.add_app("a")
    keeper = asyncio.create_task(bench.ledger.keep())
    try:
        await asyncio.to_thread(server.restart, keep_data=False)
        await wait_until_async(bench.apps, 10, "the registry is back")
    finally:
        await end_tasks([keeper])
        await store.aclose()


async def test_the_keeper_gives_a_store_the_changes_that_it_lost_in_a_crash(
    own_redis: Factory[Redis], namespace: str, tmp_path: Path
) -> None:
    server = own_redis()
    store = async_store(server.url, socket_timeout=5)
    bench = Bench(store, namespace, tmp_path / "artifacts")
    await bench.add_app("a")
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(shutil.copytree, server.data, tmp_path / "a second ago")
    await asyncio.to_thread(server.start)
    keeper = asyncio.create_task(bench.ledger.keep())
    try:
        await bench.add_app("b")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.lose_data)
        await asyncio.to_thread(shutil.copytree, tmp_path / "a second ago", server.data)
        await asyncio.to_thread(server.start)
        await wait_until_async(lambda: bench.holds("a", "b"), 10, "both applications are there again")
    finally:
        await end_tasks([keeper])
        await store.aclose()


async def test_a_store_that_is_away_is_told(own_redis: Factory[Redis], namespace: str, tmp_path: Path) -> None:
    server = own_redis()
    server.stop()
    store = async_store(server.url)
    with pytest.raises(UnavailableError):
        await Bench(store, namespace, tmp_path).ledger.reconcile()
    await store.aclose()


def test_a_mirror_of_nothing_is_empty() -> None:
    assert Mirror().is_empty
