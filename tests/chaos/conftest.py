"""A cluster for each test, and the line that each fault prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.account import Account
from tests.chaos.cluster import Cluster, cluster_of
from tests.services import Kafka, Redis
from tests.services.factory import Factory


@pytest.fixture
def cluster(tmp_path: Path, own_kafka: Factory[Kafka], own_redis: Factory[Redis]) -> Iterator[Cluster]:
    """Kafka, Redis, admin and one frontend."""
    with cluster_of(tmp_path, own_kafka(), own_redis()) as running:
        yield running


@pytest.fixture
def two_frontends(tmp_path: Path, own_kafka: Factory[Kafka], own_redis: Factory[Redis]) -> Iterator[Cluster]:
    """The same with two frontends."""
    with cluster_of(tmp_path, own_kafka(), own_redis(), frontends=2) as running:
        yield running


class Fault:
    """An account, and the moment at which the fault was injected."""

    def __init__(self, name: str) -> None:
        self.account = Account(name)
        self.at_s = time.monotonic()

    def strike(self) -> None:
        """The fault is injected now."""
        self.at_s = time.monotonic()


@pytest.fixture
def fault(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], Fault]]:
    """`fault(name)` opens the books of a fault; its line is printed when the test ends, however it ends."""
    opened: list[Fault] = []

    def open_books(name: str) -> Fault:
        opened.append(Fault(name))
        return opened[-1]

    yield open_books
    with capsys.disabled():
        for one in opened:
            print(one.account.line(one.at_s))
