"""Fixtures that all tests share: servers, their addresses, names that nobody else uses.

A test that only uses a server takes `kafka`, `redis_server`, `embedded_broker` or `embedded_store`, which live as long
as the run, and keeps to a `namespace` of its own. A test that stops, kills or fills a server takes `own_kafka`,
`own_redis`, `own_embedded_broker` or `own_embedded_store`, and calls it for a server of its own.
"""

import secrets
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.services import Kafka, Redis, Service, Tansu, Valkey
from tests.services.factory import Factory, factory_of
from tests.services.requirement import require

#: The brokers that a behaviour suite runs on beside the in-memory fake, by the name of the fixture that starts each.
BROKER_FIXTURES = {"embedded": "embedded_broker", "kafka": "kafka"}

#: The marker that a test gets for using one of these fixtures.
MARKERS = {
    "kafka": "kafka",
    "own_kafka": "kafka",
    "embedded_broker": "embedded",
    "own_embedded_broker": "embedded",
}


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A real Kafka, shared by all tests of the run."""
    require(Kafka)
    with Kafka() as service:
        yield service


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A real Redis, shared by all tests of the run."""
    require(Redis)
    with Redis() as service:
        yield service


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Tansu]:
    """The embedded broker, shared by all tests of the run."""
    require(Tansu)
    with Tansu() as service:
        yield service


@pytest.fixture(scope="session")
def embedded_store() -> Iterator[Valkey]:
    """The embedded store, shared by all tests of the run."""
    require(Valkey)
    with Valkey() as service:
        yield service


@pytest.fixture
def own_kafka() -> Iterator[Factory[Kafka]]:
    """`own_kafka()` starts a Kafka for this test alone."""
    with factory_of(Kafka) as factory:
        yield factory


@pytest.fixture
def own_redis() -> Iterator[Factory[Redis]]:
    """`own_redis()` starts a Redis for this test alone."""
    with factory_of(Redis) as factory:
        yield factory


@pytest.fixture
def own_embedded_broker() -> Iterator[Factory[Tansu]]:
    """`own_embedded_broker()` starts a Tansu for this test alone."""
    with factory_of(Tansu) as factory:
        yield factory


@pytest.fixture
def own_embedded_store() -> Iterator[Factory[Valkey]]:
    """`own_embedded_store()` starts a Valkey for this test alone."""
    with factory_of(Valkey) as factory:
        yield factory


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.embedded),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Which broker a behaviour test runs on: it runs once on each."""
    return str(request.param)


@pytest.fixture
def bootstrap_servers(request: pytest.FixtureRequest, broker_kind: str) -> str:
    """The address of the broker that `broker_kind` names."""
    service: Service = request.getfixturevalue(BROKER_FIXTURES[broker_kind])
    return service.address


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses, so that shared servers can be shared."""
    return f"t{secrets.token_hex(4)}"


def pytest_configure() -> None:
    # A run that is told to end must still end its servers; SIGTERM would otherwise leave them behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if marker := MARKERS.get(fixture):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for service in _services_of(item):
            report.sections.append((f"{service.name}, the end of {service.log}", service.log_tail()))
    return report


def _services_of(item: pytest.Item) -> Iterator[Service]:
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Service):
            yield value
        elif isinstance(value, Factory):
            yield from value.services
