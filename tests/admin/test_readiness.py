"""Waiting for workers, by heartbeats in a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

from skysail.admin.managers import Replica
from skysail.admin.service.readiness import Readiness
from skysail.topics.errors import DeployError, NotFoundError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ModelSpec, WorkerHeartbeat, WorkerState
from skysail.topics.store.connection import async_store
from skysail.topics.store.workers import WorkerDirectory, heartbeat_commands
from tests.services import Redis
from tests.waiting import wait_until_async

SPEC = ModelSpec(name="m", version="1")


class ManagerDouble:
    """A manager that says what a test tells it to."""

    starts_workers = True

    def __init__(self) -> None:
        self.said: str | None = None
        self.asked = 0
        self.kept: dict[str, str] = {}

    async def scale(self, name: str, version: str, replicas: int) -> None:
        raise AssertionError((name, version, replicas))

    def failure(self, name: str, version: str) -> str | None:
        del name, version
        self.asked += 1
        return self.said

    def replicas(self) -> list[Replica]:
        return []

    def logs(self, name: str, version: str, lines: int) -> dict[str, str]:
        del name, version, lines
        if not self.kept:
            raise NotFoundError
        return self.kept

    async def close(self) -> None:
        raise AssertionError


class Bench:
    """What is waited for."""

    def __init__(self, store: redis.asyncio.Redis, namespace: str) -> None:
        self._send: Any = store.execute_command
        self._keys = KeyNames(namespace)
        self.manager = ManagerDouble()
        self.ticks: Iterator[float] | None = None
        self.readiness = Readiness(WorkerDirectory(store, self._keys), self.manager, 20, self._now)

    def _now(self) -> float:
        return next(self.ticks) if self.ticks is not None else time.monotonic()

    async def beat(self, worker: str, state: WorkerState, error: str = "", version: str = "1") -> None:
        beat = WorkerHeartbeat(
            worker_id=worker,
            model="m",
            version=version,
            state=state,
            error=error,
            sent_ms=time.time_ns() // 1_000_000,
        )
        for command in heartbeat_commands(self._keys, beat):
            await self._send(*command)

    async def looked(self, more: int = 1) -> None:
        """Until the wait has looked so many times more, and found no reason to end."""
        goal = self.manager.asked + more
        await wait_until_async(lambda: self.manager.asked >= goal, 10, "it looks")

    def wait(self, replicas: int = 1) -> asyncio.Task[None]:
        return asyncio.create_task(self.readiness.wait(SPEC, replicas=replicas))


@pytest.fixture
async def bench(redis_server: Redis, namespace: str) -> AsyncIterator[Bench]:
    store = async_store(redis_server.url)
    yield Bench(store, namespace)
    await store.aclose()


async def test_a_version_is_ready_when_as_many_workers_as_wanted_say_so(bench: Bench) -> None:
    waiting = bench.wait(replicas=2)
    await bench.beat("a", WorkerState.READY)
    await bench.beat("b", WorkerState.LOADING)
    await bench.beat("c", WorkerState.READY, version="2")
    await bench.looked(3)
    assert not waiting.done()
    await bench.beat("b", WorkerState.READY)
    await waiting
    assert await bench.readiness.is_ready(SPEC)


async def test_a_worker_that_failed_ends_the_wait_with_its_traceback(bench: Bench) -> None:
    waiting = bench.wait()
    await bench.looked()
    await bench.beat("a", WorkerState.LOADING)
    await bench.beat("a", WorkerState.FAILED, "Traceback: why")
    with pytest.raises(DeployError, match="version 1 failed to load") as refused:
        await waiting
    assert refused.value.worker_traceback == "Traceback: why"


async def test_a_failure_of_an_earlier_attempt_is_not_this_ones(bench: Bench) -> None:
    await bench.beat("old", WorkerState.FAILED, "Traceback: long mended")
    waiting = bench.wait()
    await bench.looked(3)
    assert not waiting.done()
    await bench.beat("new", WorkerState.READY)
    await waiting


async def test_a_worker_that_has_nothing_to_say_is_spoken_for_by_its_manager(bench: Bench) -> None:
    bench.manager.said = "Segmentation fault"
    with pytest.raises(DeployError) as refused:
        await bench.wait()
    assert refused.value.worker_traceback == "Segmentation fault"


async def test_the_wait_has_an_end_and_shows_the_logs(bench: Bench) -> None:
    bench.manager.kept = {"m.1.0": "loading a very large file"}
    bench.ticks = iter([0.0, 1.0, 20.0])
    with pytest.raises(DeployError, match="model m version 1: 0 of 1 workers were ready after 20 s") as refused:
        await bench.wait()
    assert refused.value.worker_traceback == "the end of the log of m.1.0:\nloading a very large file"


async def test_without_logs_the_end_of_the_wait_says_so_much(bench: Bench) -> None:
    bench.ticks = iter([0.0, 20.0])
    with pytest.raises(DeployError) as refused:
        await bench.wait()
    assert refused.value.worker_traceback is None
