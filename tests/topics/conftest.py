"""Fixtures of the tests of `skysail.topics`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio
from hypothesis import settings

from skysail.topics.names import KeyNames
from skysail.topics.store.connection import async_store
from tests.services import Kafka, Redis
from tests.services.factory import factory_of

# A machine that runs a JVM beside the tests stalls now and then; an example's duration says nothing about the code.
settings.register_profile("skysail", deadline=None)
settings.load_profile("skysail")


@pytest.fixture(params=["redis_server", "embedded_store"])
def store(request: pytest.FixtureRequest) -> Redis:
    """A store of each kind, shared by the run's tests."""
    service: Redis = request.getfixturevalue(request.param)
    return service


@pytest.fixture(scope="session")
def fragile_kafka() -> Iterator[Kafka]:
    """A Kafka that tests may stop and pause, when they start or resume it again: a JVM takes seconds to start."""
    with factory_of(Kafka) as start:
        yield start()


@pytest.fixture
def keys(namespace: str) -> KeyNames:
    """Redis names of this test alone."""
    return KeyNames(namespace)


@pytest.fixture
async def client(store: Redis) -> AsyncIterator[redis.asyncio.Redis]:
    """An asyncio client of `store`."""
    async with async_store(store.url) as connected:
        yield connected
