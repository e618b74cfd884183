from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.admin.processes import AdminProcess
from tests.services import Kafka, Redis


@pytest.fixture(scope="module")
def admin(kafka: Kafka, redis_server: Redis) -> Iterator[AdminProcess]:
    """An admin process for the tests of one module; each uses names of its own."""
    with AdminProcess(kafka.address, redis_server.url, f"t{secrets.token_hex(4)}") as process:
        yield process


@pytest.fixture
def name() -> str:
    """A name of an application or model that no other test uses."""
    return f"n{secrets.token_hex(4)}"
