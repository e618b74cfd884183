"""A worker that dies, a store and a broker that go away: nothing hangs, nothing is lost, all recover by themselves.

These tests break their servers, so they have some of their own; each leaves them as it found them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from skysail.topics.client import PredictionClient
from skysail.topics.errors import UnavailableError
from skysail.topics.memory import MemoryBroker
from skysail.topics.payloads import encode_json
from skysail.topics.pending import Answer
from tests.behaviour.conftest import KINDS
from tests.behaviour.served import Served, WorkerDiedError
from tests.services import Kafka, Redis, Service, Tansu
from tests.services.factory import factory_of
from tests.waiting import wait_until_async
from tests.workers.benches import MemoryBench

TIMEOUT_S = 40.0


class Breakable:
    """A served model whose broker and store can be taken away."""

    def __init__(self, served: Served, broker: Service | None, store: Redis) -> None:
        self.served = served
        self.store = store
        self._broker = broker

    @property
    def _fake(self) -> MemoryBroker:
        assert isinstance(self.served.bench, MemoryBench)
        return self.served.bench.broker

    def stop_broker(self) -> None:
        if self._broker is None:
            self._fake.stop()
        elif self.served.kind == "embedded":
            self._broker.kill()  # it has nothing to save, and would wait for its clients to go
        else:
            self._broker.stop()

    def start_broker(self) -> None:
        if self._broker is None:
            self._fake.start()
            return
        self._broker.start()
        if self.served.kind == "embedded":  # it comes back empty; an admin process would make the topics again
            self.served.make_topics()


@pytest.fixture(scope="module", params=KINDS)
def breakable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Breakable]:
    kind: str = request.param
    brokers: dict[str, type[Service]] = {"embedded": Tansu, "kafka": Kafka}
    with ExitStack() as stack:
        broker = stack.enter_context(factory_of(brokers[kind]))() if kind in brokers else None
        store = stack.enter_context(factory_of(Redis))()
        address = broker.address if broker is not None else ""
        namespace = f"b{secrets.token_hex(4)}"
        served = stack.enter_context(Served(kind, address, store.url, namespace, tmp_path_factory.mktemp("breakable")))
        served.start_worker()
        yield Breakable(served, broker, store)


async def ask(client: PredictionClient, *rows: Any, cache_ttl_s: int = 0) -> Answer:
    timeout_ms = int(TIMEOUT_S * 1000)
    return await client.ask(
        client.target("m"), encode_json(rows), rows=len(rows), timeout_ms=timeout_ms, cache_ttl_s=cache_ttl_s
    )


async def is_answered(client: PredictionClient, row: Any) -> bool:
    try:
        return (await ask(client, row)).outcome == "ok"
    except UnavailableError:
        return False


async def test_a_worker_that_dies_loses_nothing(breakable: Breakable) -> None:
    served = breakable.served
    client = served.client()
    await client.start()
    rows: list[Any] = [["beside the deadly one", number] for number in range(100)]
    rows.insert(50, {"die": "once"})
    asked = [asyncio.create_task(ask(client, row)) for row in rows]
    (worker,) = served.workers
    await wait_until_async(lambda: served.seen({"die": "once"}), TIMEOUT_S, "the worker dies")
    with pytest.raises(WorkerDiedError):
        await asyncio.to_thread(worker.stop)
    served.workers.remove(worker)
    assert not asked[50].done()
    await asyncio.to_thread(served.start_worker)
    answers = await asyncio.gather(*asked)
    assert [answer.value for answer in answers] == [encode_json([row]) for row in rows]
    assert client.in_flight == 0
    await client.close()


async def test_a_store_that_goes_away_is_told_and_found_again(breakable: Breakable) -> None:
    served = breakable.served
    client = served.client()
    await client.start()
    with served.gate("no store") as gate:
        asked = asyncio.create_task(ask(client, {"wait": "no store"}))
        await wait_until_async(lambda: served.seen({"wait": "no store"}), TIMEOUT_S, "the model runs")
        breakable.store.stop()
        with pytest.raises(UnavailableError, match="the store went away"):
            await asyncio.wait_for(asked, 5)
        gate.set()  # the worker has an outcome now, and nowhere to put it
        for ttl_s in (0, 60):
            with pytest.raises(UnavailableError, match="the store is away"):
                await asyncio.wait_for(ask(client, "no store", cache_ttl_s=ttl_s), 1)
    breakable.store.start()
    await wait_until_async(lambda: client.store_available, TIMEOUT_S, "the client finds the store again")
    assert (await ask(client, "a store again")).outcome == "ok"
    await client.close()


async def test_a_broker_that_goes_away_is_told_and_found_again(breakable: Breakable) -> None:
    served = breakable.served
    client = served.client()
    await client.start()
    assert (await ask(client, "known before", cache_ttl_s=600)).outcome == "ok"
    await asyncio.to_thread(breakable.stop_broker)
    try:
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(ask(client, "no broker"), 5)
        await wait_until_async(lambda: not client.broker_available, 5, "the absence is noticed")
        for _ in range(3):
            with pytest.raises(UnavailableError, match="the broker is away"):
                await asyncio.wait_for(ask(client, "no broker"), 1)
        assert (await ask(client, "known before", cache_ttl_s=600)).source == "local-cache"
        assert client.in_flight == 0
    finally:
        await asyncio.to_thread(breakable.start_broker)
    await wait_until_async(lambda: client.broker_available, TIMEOUT_S, "the client finds the broker again")
    # The first queries may still meet what the producer knew of the topics before.
    await wait_until_async(lambda: is_answered(client, "a broker again"), TIMEOUT_S, "queries are answered again")
    assert served.seen("no broker") == 0, "what was told to have failed is not sent later"
    (worker,) = served.workers
    assert worker._thread.is_alive()
    await client.close()
