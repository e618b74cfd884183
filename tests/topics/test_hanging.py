"""A broker or a store that hangs: connected, but silent. Callers must be told long before their deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.client import PredictionClient
from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.stall import StallWatch
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.specs import ModelSpec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from tests.services import Kafka, Redis
from tests.services.factory import Factory
from tests.services.service import Service
from tests.topics.kafka_ends import make_topics
from tests.waiting import wait_until_async

LONG_MS = 60_000
#: Far more than a second on a busy machine, far less than the deadline.
SOON_S = 5.0


async def ask(client: PredictionClient) -> None:
    await client.ask(client.target("m"), b"[1]", timeout_ms=LONG_MS)


@pytest.fixture
async def client(fragile_kafka: Kafka, own_redis: Factory[Redis], namespace: str) -> AsyncIterator[PredictionClient]:
    """A client whose queries nobody answers; `own_redis.services[0]` is its store."""
    store = own_redis()
    topic = TopicNames(namespace).version("m", "1")
    await asyncio.to_thread(make_topics, fragile_kafka.address, {topic: 2})
    async with async_store(store.url) as connection:
        registry = Registry(connection, KeyNames(namespace))
        await registry.create_model(ModelSpec(name="m", version="1", partitions=2))
        await registry.set_current("m", "1")
    properties = {"bootstrap.servers": fragile_kafka.address, "message.timeout.ms": LONG_MS}
    client = PredictionClient(properties, store.url, namespace)
    await client.start()
    yield client
    await client.close()


async def must_tell(client: PredictionClient, hanging: Service, reason: str) -> None:
    """While a service hangs, every query is told so; afterwards nothing is in the way."""
    hanging.pause()
    try:
        for _ in range(3):
            with pytest.raises(UnavailableError, match=reason):
                await asyncio.wait_for(ask(client), SOON_S)
    finally:
        hanging.resume()
    there = lambda: client.broker_available and client.store_available  # noqa: E731
    await wait_until_async(there, 20, "both are there again")
    waiting = asyncio.create_task(ask(client))
    await wait_until_async(lambda: client.in_flight == 1, 5, "the next query is on its way")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_callers_hear_of_a_broker_that_hangs(client: PredictionClient, fragile_kafka: Kafka) -> None:
    waiting = asyncio.create_task(ask(client))
    stored = lambda: client.in_flight == 1 and client._producer.flush(0) == 0  # noqa: E731
    await wait_until_async(stored, 10, "a query that the broker has stored")
    await must_tell(client, fragile_kafka, "the broker")
    assert not waiting.done(), "what the broker has stored is still to be answered"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_callers_hear_of_a_store_that_hangs(client: PredictionClient, own_redis: Factory[Redis]) -> None:
    waiting = asyncio.create_task(ask(client))
    await wait_until_async(lambda: client.in_flight == 1, 5, "a query in flight")
    await must_tell(client, own_redis.services[0], "the store")
    with pytest.raises(UnavailableError, match="the store"):
        await asyncio.wait_for(waiting, SOON_S)


# When silence is a stall.


def test_a_stall_that_goes_on_is_told_again_and_again() -> None:
    watch = StallWatch(limit_s=0.75, gap_s=0.3)
    assert sum(watch.is_stalled(5, 5, step / 4) for step in range(1 + 3 * 5)) == 5


def test_records_that_wait_while_none_is_settled_are_a_stall_after_the_limit() -> None:
    watch = StallWatch(limit_s=0.8, gap_s=0.3)
    looks = [watch.is_stalled(5, 2, 10 + step / 10) for step in range(10)]
    assert looks == [False] * 8 + [True, False]


def test_a_record_that_is_settled_begins_the_wait_anew() -> None:
    watch = StallWatch(limit_s=0.8, gap_s=0.3)
    assert not any(watch.is_stalled(100, 100 - step // 5, step / 10) for step in range(100))


def test_a_pause_between_looks_proves_nothing() -> None:
    watch = StallWatch(limit_s=0.8, gap_s=0.3)
    assert not any(watch.is_stalled(5, 2, step * 0.31) for step in range(100))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 0.5)), max_size=60))
def test_a_stall_is_called_only_when_nothing_was_settled_for_the_limit(steps: list[tuple[int, int, float]]) -> None:
    """Each step lets time pass, hands records over and settles some."""
    watch = StallWatch(limit_s=0.8, gap_s=0.3)
    sent = waiting = 0
    now = last_settled = 100.0
    for handed_over, settled, passed in steps:
        now += passed
        sent += handed_over
        waiting += handed_over
        if min(settled, waiting) or not waiting:
            last_settled = now
        waiting -= min(settled, waiting)
        if watch.is_stalled(sent, waiting, now):
            assert waiting > 0
            assert now - last_settled >= 0.8
