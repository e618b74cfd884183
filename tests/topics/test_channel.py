from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import hiredis
import pytest
import redis.asyncio

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.store.channel import StoreChannel
from tests.services import Redis
from tests.services.factory import Factory
from tests.waiting import wait_until_async


@pytest.fixture
async def channel(store: Redis) -> AsyncIterator[StoreChannel]:
    channel = StoreChannel(store.url)
    await channel.connect()
    yield channel
    channel.close()


async def test_each_command_gets_its_own_answer(channel: StoreChannel) -> None:
    answers = await asyncio.gather(*[channel.execute(("ECHO", f"{number}")) for number in range(2000)])
    assert answers == [b"%d" % number for number in range(2000)]


async def test_an_error_in_the_middle_is_that_commands_alone(channel: StoreChannel, keys: KeyNames) -> None:
    key = keys.job("list")
    commands = [("RPUSH", key, "a"), ("GET", key), ("LLEN", key), ("NO-SUCH-COMMAND",), ("LLEN", key)]
    answers = await asyncio.gather(*[channel.execute(command) for command in commands], return_exceptions=True)
    assert [answers[0], answers[2], answers[4]] == [1, 1, 1]
    assert [isinstance(answers[place], hiredis.ReplyError) for place in (1, 3)] == [True, True]
    assert str(answers[1]).startswith("WRONGTYPE")


async def test_an_answer_that_nobody_waits_for_any_more_shifts_no_other(channel: StoreChannel) -> None:
    futures = [channel.execute(("ECHO", f"{number}")) for number in range(4)]
    futures[0].cancel()
    futures[2].cancel()
    assert [await futures[1], await futures[3]] == [b"1", b"3"]


async def test_large_values_pass_both_ways(channel: StoreChannel, keys: KeyNames) -> None:
    value = bytes(range(256)) * 40_000
    await channel.execute(("SET", keys.job("large"), value, "EX", 60))
    assert await channel.execute(("GET", keys.job("large"))) == value


async def test_a_command_needs_a_connection(store: Redis) -> None:
    channel = StoreChannel(store.url)
    assert not channel.connected
    with pytest.raises(UnavailableError, match="not connected"):
        channel.execute(("PING",))


async def kill_all_but(client: redis.asyncio.Redis) -> None:
    await client.client_kill_filter(_type="normal", skipme=True)


async def test_when_the_connection_drops_all_that_wait_fail_and_the_next_connect_begins_anew(
    own_redis: Factory[Redis],
) -> None:
    store = own_redis()
    channel = StoreChannel(store.url)
    await channel.connect()
    waiting = [channel.execute(("BLPOP", "nothing", 0)), channel.execute(("ECHO", "behind it"))]
    async with redis.asyncio.Redis.from_url(store.url) as client:
        await kill_all_but(client)
        for future in waiting:
            with pytest.raises(UnavailableError, match="the store is away"):
                await future
        assert not channel.connected
        with pytest.raises(UnavailableError):
            channel.execute(("PING",))
        await channel.connect()
        assert await channel.execute(("ECHO", "again")) == b"again"
    channel.close()


async def test_a_store_that_is_restarted_is_found_again(own_redis: Factory[Redis]) -> None:
    store = own_redis()
    channel = StoreChannel(store.url)
    await channel.connect()
    store.stop()
    await wait_until_async(lambda: not channel.connected, 5, "the channel notices")
    with pytest.raises(UnavailableError):
        await channel.connect()
    store.start()
    await channel.connect()
    assert await channel.execute(("PING",)) == b"PONG"
    channel.close()


async def test_a_store_that_hangs_does_not_hold_a_connect_up(own_redis: Factory[Redis]) -> None:
    store = own_redis()
    store.pause()
    channel = StoreChannel(store.url, connect_timeout_s=0.1)
    with pytest.raises(UnavailableError, match="no answer"):
        await channel.connect()
    assert not channel.connected
    store.resume()
    await channel.connect()
    channel.close()


async def test_closing_fails_what_waits(channel: StoreChannel) -> None:
    future = channel.execute(("BLPOP", "nothing", 0))
    channel.close()
    with pytest.raises(UnavailableError):
        await future
    with pytest.raises(UnavailableError):
        channel.execute(("PING",))
    channel.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+NOBODY ASKED\r\n", b"\x00" * 50])
async def test_what_is_no_store_is_unavailable(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        channel = StoreChannel(f"redis://127.0.0.1:{port}", connect_timeout_s=5)
        with pytest.raises(UnavailableError):
            await connect_and_ask(channel)
        channel.close()


async def connect_and_ask(channel: StoreChannel) -> None:
    await channel.connect()
    await channel.execute(("PING",))
