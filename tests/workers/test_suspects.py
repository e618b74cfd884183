"""Crash counts in a real store."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.store.connection import PipelinedStore
from skysail.workers.intake import Intake
from skysail.workers.offsets import OffsetTracker
from skysail.workers.stopping import Patience, StopRequest
from skysail.workers.suspects import SuspectStore
from skysail.workers.suspicion import Suspicion
from tests.services import Redis
from tests.services.ports import free_port
from tests.workers.samples import TOPIC, FakeStore

RECORDS = [(TOPIC, 0, 1), (TOPIC, 7, 2)]


def suspects(redis_server: Redis, namespace: str) -> SuspectStore:
    return SuspectStore(PipelinedStore(redis_server.url), KeyNames(namespace), "m", now_ms=lambda: 1_790_000_000_123)


def test_each_crash_counts_once_for_each_record_that_was_running(redis_server: Redis, namespace: str) -> None:
    store = suspects(redis_server, namespace)
    assert store.load() == {}
    store.note(RECORDS, "1", "w1")
    store.note(RECORDS[:1], "2", "w2")
    assert store.load() == {f"{TOPIC}/0/1": 2, f"{TOPIC}/7/2": 1}


def test_the_evidence_says_who_noted_it_and_does_not_stay_for_ever(redis_server: Redis, namespace: str) -> None:
    suspects(redis_server, namespace).note(RECORDS[:1], "1", "w1")
    client: Any = redis.Redis.from_url(redis_server.url)
    key = KeyNames(namespace).suspects("m")
    evidence = json.loads(client.hget(key, f"{TOPIC}/0/1"))
    assert evidence == {"count": 1, "version": "1", "worker": "w1", "noted_ms": 1_790_000_000_123}
    assert 0 < client.ttl(key) <= 7 * 24 * 3600
    client.close()


def test_evidence_that_cannot_be_read_is_replaced(redis_server: Redis, namespace: str) -> None:
    client: Any = redis.Redis.from_url(redis_server.url)
    client.hset(KeyNames(namespace).suspects("m"), f"{TOPIC}/0/1", "no json")
    store = suspects(redis_server, namespace)
    store.note(RECORDS[:1], "1", "w1")
    assert store.load() == {f"{TOPIC}/0/1": 1}
    client.close()


def test_a_store_that_is_away_is_said_to_be() -> None:
    away = SuspectStore(PipelinedStore(f"redis://127.0.0.1:{free_port()}"), KeyNames("t"), "m")
    with pytest.raises(UnavailableError):
        away.load()


# ---------------------------------------------------------------------------------------------------- suspicion


class KeptAlive:
    def __init__(self) -> None:
        self.times = 0

    def keep_alive(self) -> None:
        self.times += 1

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


AWAY = UnavailableError("away")


def suspicion(store: FakeStore, stop: StopRequest) -> tuple[Suspicion, Intake]:
    intake = Intake(OffsetTracker(), crash_limit=3)
    patience = Patience(stop, lambda _: None)
    return Suspicion(SuspectStore(store, KeyNames("t"), "m"), intake, patience), intake


def test_counts_are_read_when_partitions_were_gained_and_not_otherwise() -> None:
    store = FakeStore([{b"a/0/0": b'{"count":2}'}])
    doubt, _ = suspicion(store, StopRequest())
    consumer: Any = KeptAlive()
    assert doubt.settle(consumer)
    assert not store.calls
    doubt.raise_doubt()
    assert doubt.settle(consumer)
    assert doubt.settle(consumer)
    assert len(store.calls) == 1


def test_while_the_store_is_away_nothing_runs_and_the_group_is_kept() -> None:
    store = FakeStore(AWAY, AWAY, [[b"a/0/0", b'{"count":2}']])
    doubt, _ = suspicion(store, StopRequest())
    consumer: Any = KeptAlive()
    doubt.raise_doubt()
    assert doubt.settle(consumer)
    assert (len(store.calls), consumer.times) == (3, 2)


def test_a_stop_ends_the_waiting_for_the_store() -> None:
    stop = StopRequest()
    stop.requested = True
    doubt, _ = suspicion(FakeStore(AWAY), stop)
    doubt.raise_doubt()
    consumer: Any = KeptAlive()
    assert not doubt.settle(consumer)
