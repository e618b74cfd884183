from __future__ import annotations

import pytest
import redis.asyncio

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.specs import WorkerHeartbeat, WorkerState
from skysail.topics.store.connection import PipelinedStore, async_store
from skysail.topics.store.workers import HEARTBEAT_TTL_S, WorkerDirectory, farewell_commands, heartbeat_commands
from tests.services import Redis
from tests.services.factory import Factory

NOW_MS = 1_700_000_000_000


def beat(worker_id: str, model: str = "m", version: str = "1", **more: object) -> WorkerHeartbeat:
    fields: dict[str, object] = {"state": WorkerState.READY, "sent_ms": NOW_MS, **more}
    return WorkerHeartbeat(worker_id=worker_id, model=model, version=version, **fields)  # type: ignore[arg-type]


@pytest.fixture
def directory(client: redis.asyncio.Redis, keys: KeyNames) -> WorkerDirectory:
    return WorkerDirectory(client, keys, lambda: NOW_MS)


def write(store: Redis, keys: KeyNames, *beats: WorkerHeartbeat) -> None:
    pipeline = PipelinedStore(store.url)
    pipeline.execute([command for each in beats for command in heartbeat_commands(keys, each)])
    pipeline.close()


async def test_nobody_is_alive_at_first(directory: WorkerDirectory) -> None:
    assert await directory.alive() == []


async def test_workers_are_found_by_model_and_version(store: Redis, keys: KeyNames, directory: WorkerDirectory) -> None:
    beats = [beat("c", "m", "1"), beat("a", "m", "2"), beat("b", "other", "1")]
    write(store, keys, *beats)
    assert await directory.alive() == sorted(beats, key=lambda each: each.worker_id)
    assert await directory.alive("m") == [beats[1], beats[0]]
    assert await directory.alive("m", "2") == [beats[1]]
    assert await directory.alive(version="1") == [beats[2], beats[0]]


async def test_only_those_that_answer_queries_are_ready(
    store: Redis, keys: KeyNames, directory: WorkerDirectory
) -> None:
    beats = [
        beat(state.value, state=state, error="why" if state is WorkerState.FAILED else "") for state in WorkerState
    ]
    write(store, keys, *beats)
    assert [each.worker_id for each in await directory.ready("m", "1")] == ["ready"]
    assert len(await directory.alive("m", "1")) == len(WorkerState)


async def test_the_newest_heartbeat_counts(store: Redis, keys: KeyNames, directory: WorkerDirectory) -> None:
    write(store, keys, beat("a", state=WorkerState.LOADING), beat("a", batch_cap=7))
    assert await directory.alive() == [beat("a", batch_cap=7)]


async def test_a_worker_that_was_silent_for_too_long_is_gone(
    store: Redis, keys: KeyNames, directory: WorkerDirectory, client: redis.asyncio.Redis
) -> None:
    limit_ms = HEARTBEAT_TTL_S * 1000
    write(store, keys, beat("quick", sent_ms=NOW_MS - limit_ms), beat("dead", sent_ms=NOW_MS - limit_ms - 1))
    write(store, keys, beat("forgotten", sent_ms=NOW_MS - 2 * limit_ms - 1))
    assert [each.worker_id for each in await directory.alive()] == ["quick"]
    assert await client.zrange(keys.workers, 0, -1) == [b"dead", b"quick"], "the long dead are forgotten"
    assert 0 < await client.ttl(keys.worker("quick")) <= HEARTBEAT_TTL_S


async def test_a_worker_that_leaves_in_good_order_is_gone_at_once(
    store: Redis, keys: KeyNames, directory: WorkerDirectory, client: redis.asyncio.Redis
) -> None:
    write(store, keys, beat("a"), beat("b"))
    pipeline = PipelinedStore(store.url)
    pipeline.execute(farewell_commands(keys, "a"))
    pipeline.close()
    assert [each.worker_id for each in await directory.alive()] == ["b"]
    assert not await client.exists(keys.worker("a"))


async def test_a_directory_whose_store_is_away_is_unavailable(keys: KeyNames) -> None:
    async with async_store("redis://127.0.0.1:1") as client:
        with pytest.raises(UnavailableError):
            await WorkerDirectory(client, keys).alive()


async def test_a_directory_whose_store_refuses_writes_is_unavailable(own_redis: Factory[Redis], keys: KeyNames) -> None:
    async with async_store(own_redis().url) as client:
        await client.config_set("min-replicas-to-write", 1)
        with pytest.raises(UnavailableError, match="NOREPLICAS"):
            await WorkerDirectory(client, keys).alive()
