from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from skysail.topics.errors import DecodeError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.records import Reply, ReplyBatch
from skysail.topics.store.channel import StoreChannel
from skysail.topics.store.connection import PipelinedStore
from skysail.topics.store.replies import STREAM_TTL_S, ReplyStream, reply_commands
from tests.services import Redis

CLIENT = "a-client"


def batch(*ids: str) -> ReplyBatch:
    return ReplyBatch("w", "1", len(ids), 5, [Reply(each, "ok", b"[1]") for each in ids])


def ids_of(batches: list[ReplyBatch]) -> list[str]:
    return [reply.id for each in batches for reply in each.replies]


@pytest.fixture
def worker(store: Redis) -> Iterator[PipelinedStore]:
    pipeline = PipelinedStore(store.url)
    yield pipeline
    pipeline.close()


@pytest.fixture
async def channel(store: Redis) -> AsyncIterator[StoreChannel]:
    channel = StoreChannel(store.url)
    await channel.connect()
    yield channel
    channel.close()


@pytest.fixture
def stream(channel: StoreChannel, keys: KeyNames) -> ReplyStream:
    return ReplyStream(channel, keys, CLIENT, block_ms=50)


@pytest.fixture
def key(keys: KeyNames) -> str:
    return keys.replies(CLIENT)


async def test_batches_come_once_and_in_order(worker: PipelinedStore, stream: ReplyStream, key: str) -> None:
    worker.execute([*reply_commands(key, batch("1", "2")), *reply_commands(key, batch("3"))])
    assert ids_of(await stream.read()) == ["1", "2", "3"]
    worker.execute(reply_commands(key, batch("4")))
    assert ids_of(await stream.read()) == ["4"]
    assert await stream.read() == []


async def test_a_read_waits_for_the_next_batch(worker: PipelinedStore, channel: StoreChannel, keys: KeyNames) -> None:
    stream = ReplyStream(channel, keys, CLIENT, block_ms=20_000)
    waiting = asyncio.create_task(stream.read())
    await asyncio.to_thread(worker.execute, reply_commands(keys.replies(CLIENT), batch("1")))
    assert ids_of(await asyncio.wait_for(waiting, 10)) == ["1"]


async def test_a_backlog_is_read_whole(worker: PipelinedStore, stream: ReplyStream, key: str) -> None:
    worker.execute([command for number in range(1000) for command in reply_commands(key, batch(str(number)))])
    read: list[str] = []
    while batches := await stream.read():
        read += ids_of(batches)
    assert read == [str(number) for number in range(1000)]


async def test_a_dropped_connection_loses_and_repeats_nothing(
    worker: PipelinedStore, channel: StoreChannel, keys: KeyNames, key: str, client: redis.asyncio.Redis
) -> None:
    stream = ReplyStream(channel, keys, CLIENT, block_ms=20_000)
    worker.execute(reply_commands(key, batch("before")))
    own_id = await channel.execute(("CLIENT", "ID"))
    assert ids_of(await stream.read()) == ["before"]
    waiting = asyncio.create_task(stream.read())
    await asyncio.sleep(0)  # its command is sent
    await client.client_kill_filter(_id=own_id)
    with pytest.raises(UnavailableError):
        await waiting
    worker.execute(reply_commands(key, batch("meanwhile")))
    await channel.connect()
    worker.execute(reply_commands(key, batch("after")))
    read: list[str] = []
    while len(read) < 2:
        read += ids_of(await stream.read())
    assert read == ["meanwhile", "after"]


async def test_an_entry_that_is_no_reply_batch_hides_no_other(
    worker: PipelinedStore, stream: ReplyStream, key: str
) -> None:
    bad = ("XADD", key, "*", "b", b"\xffnonsense")
    worker.execute([*reply_commands(key, batch("1")), bad, bad, *reply_commands(key, batch("2"))])
    read: list[str] = []
    errors = 0
    for _ in range(4):
        try:
            read += ids_of(await stream.read())
        except DecodeError as error:
            assert error.data == b"\xffnonsense"  # noqa: PT017 - both ends of the law
            errors += 1
    assert (read, errors) == (["1", "2"], 2)


async def test_a_stream_that_nobody_reads_goes_away(worker: PipelinedStore, key: str) -> None:
    worker.execute(reply_commands(key, batch("1")))
    assert worker.execute([("TTL", key)]) == [STREAM_TTL_S]
    worker.execute([("EXPIRE", key, 7), *reply_commands(key, batch("2"))])
    assert worker.execute([("TTL", key)]) == [7], "a worker does not keep a dead client's stream alive"


async def test_a_renewal_keeps_the_stream_and_drops_what_has_been_read(
    worker: PipelinedStore, stream: ReplyStream, key: str
) -> None:
    worker.execute([command for number in range(300) for command in reply_commands(key, batch(str(number)))])
    worker.execute([("EXPIRE", key, 7)])
    assert len(await stream.read()) == 256
    worker.execute(stream.renewal_commands())
    assert worker.execute([("TTL", key)]) == [STREAM_TTL_S]
    assert worker.execute([("XLEN", key)])[0] <= 45, "44 are unread, and the last that was read may stay"
    assert len(await stream.read()) == 44


async def test_a_stream_has_a_bound(worker: PipelinedStore, key: str) -> None:
    worker.execute([command for _ in range(12_000) for command in reply_commands(key, batch("1"))[:1]])
    assert worker.execute([("XLEN", key)])[0] < 10_200
