"""The brokers that the behaviour suite runs on, each with a model that is served."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from skysail.topics.client import PredictionClient
from tests.behaviour.served import Served
from tests.conftest import BROKER_FIXTURES
from tests.services import Redis

#: The in-memory fake, the embedded broker and Kafka.
KINDS = [
    "memory",
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
]

#: The fake and the embedded broker are used with the embedded store, Kafka with Redis.
STORE_FIXTURES = {"memory": "embedded_store", "embedded": "embedded_store", "kafka": "redis_server"}


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model with one worker, shared by a module's tests: each uses rows of its own."""
    kind: str = request.param
    address = request.getfixturevalue(BROKER_FIXTURES[kind]).address if kind in BROKER_FIXTURES else ""
    store: Redis = request.getfixturevalue(STORE_FIXTURES[kind])
    with Served(kind, address, store.url, f"b{secrets.token_hex(4)}", tmp_path_factory.mktemp("served")) as served:
        served.start_worker()
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[PredictionClient]:
    """A client of `served`."""
    client = served.client()
    await client.start()
    yield client
    await client.close()
