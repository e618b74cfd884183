"""A deployment for worker tests: registry, artifacts and topics made by hand, workers as real processes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import redis

from skysail.topics.artifacts import Environment, Manifest, seal
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.specs import ModelSpec, WorkerHeartbeat, WorkerState, decode_spec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from tests.services.service import LOGS
from tests.waiting import wait_until

__all__ = ["Deployment", "Worker", "write_artifact"]

START_TIMEOUT_S = 30.0
KEY = b"a signing key for tests"


def write_artifact(root: Path, spec: ModelSpec, function: Callable[[Any], Any], key: bytes | None = KEY) -> Manifest:
    """An artifact of framework `python-closure` for a version, where a worker looks for it."""
    folder = root / "models" / spec.name / spec.version
    folder.mkdir(parents=True)
    (folder / "func.pkl").write_bytes(cloudpickle.dumps(function))
    manifest = Manifest(
        name=spec.name,
        version=spec.version,
        framework="python-closure",
        entry_point="func.pkl",
        input_type=spec.input_type,
        environment=Environment(python=f"{sys.version_info.major}.{sys.version_info.minor}"),
    )
    return seal(folder, manifest, key)


class Worker:
    """A worker process with a state folder of its own, kept over its restarts."""

    def __init__(self, name: str, environment: dict[str, str], heartbeats: Callable[[], list[WorkerHeartbeat]]) -> None:
        self.log = LOGS / f"worker-{name}.log"
        self.command = [sys.executable, "-m", "skysail.workers"]
        self._environment = environment
        self._heartbeats = heartbeats
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def heartbeat(self) -> WorkerHeartbeat | None:
        return next((beat for beat in self._heartbeats() if beat.pid == self.process.pid), None)

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> WorkerHeartbeat:
        def ready() -> WorkerHeartbeat | None:
            assert self.process.poll() is None, f"the worker exited with {self.process.returncode}\n{self.log_tail()}"
            beat = self.heartbeat()
            return beat if beat is not None and beat.state is WorkerState.READY else None

        beat = wait_until(ready, timeout_s, lambda: f"worker ready\n{self.log_tail()}")
        assert beat is not None
        return beat

    def wait_exit(self, timeout_s: float = 20) -> int:
        return self.process.wait(timeout_s)

    def stop(self) -> int:
        self.process.terminate()
        return self.wait_exit()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])


class Deployment:
    """Models and workers of one namespace."""

    def __init__(self, bootstrap_servers: str, redis_url: str, namespace: str, folder: Path) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.redis_url = redis_url
        self.namespace = namespace
        self.folder = folder
        self.topics = TopicNames(namespace)
        self.keys = KeyNames(namespace)
        self.store = redis.Redis.from_url(redis_url)
        self._workers: list[Worker] = []
        self.kafka_properties: dict[str, Any] = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}

    @property
    def kafka(self) -> dict[str, Any]:
        """librdkafka properties for a client of the test's own."""
        return {"bootstrap.servers": self.bootstrap_servers}

    def deploy(self, spec: ModelSpec, function: Callable[[Any], Any], *, current: bool = True) -> None:
        """Write the artifact, make the topics and register the version."""
        write_artifact(self.folder, spec, function)
        asyncio.run(self._register(spec, current=current))

    async def _register(self, spec: ModelSpec, *, current: bool) -> None:
        own, shared = self.topics.version(spec.name, spec.version), self.topics.model(spec.name)
        counts = dict.fromkeys((own, shared), spec.partitions)
        await TopicAdmin(self.kafka, 1).create(counts | {f"{topic}-dlt": 1 for topic in counts})
        await self._with_registry(lambda registry: registry.create_model(spec))
        if current:
            await self._with_registry(lambda registry: registry.set_current(spec.name, spec.version))

    def promote(self, model: str, version: str) -> None:
        """Move the pointer."""
        asyncio.run(self._with_registry(lambda registry: registry.set_current(model, version)))

    async def _with_registry(self, act: Callable[[Registry], Any]) -> None:
        store = async_store(self.redis_url)
        try:
            await act(Registry(store, self.keys))
        finally:
            await store.aclose()

    def worker(self, model: str, version: str, **settings: str) -> Worker:
        """A worker that is not started yet; `settings` are SKYSAIL_WORKER__* by their last names, in lower case."""
        name = f"{self.namespace}-{model}-{version}-{len(self._workers)}"
        own = {f"SKYSAIL_WORKER__{key.upper()}": value for key, value in settings.items()}
        environment = {
            **os.environ,
            "SKYSAIL_NAMESPACE": self.namespace,
            "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SKYSAIL_KAFKA__PROPERTIES": json.dumps(self.kafka_properties),
            "SKYSAIL_REDIS__URL": self.redis_url,
            "SKYSAIL_ARTIFACTS__PATH": str(self.folder),
            "SKYSAIL_ARTIFACTS__SIGNING_KEY": KEY.decode(),
            "SKYSAIL_WORKER__MODEL": model,
            "SKYSAIL_WORKER__VERSION": version,
            "SKYSAIL_WORKER__STATE": str(self.folder / "state" / name),
            "SKYSAIL_WORKER__HEARTBEAT_S": "0.2",
            **own,
        }
        worker = Worker(name, environment, self.heartbeats)
        self._workers.append(worker)
        return worker

    def start(self, model: str, version: str, **settings: str) -> Worker:
        """A worker that is ready."""
        worker = self.worker(model, version, **settings)
        worker.start()
        worker.wait_ready()
        return worker

    def heartbeats(self) -> list[WorkerHeartbeat]:
        """The heartbeats of all workers."""
        ids: Any = self.store.zrange(self.keys.workers, 0, -1)
        values: Any = self.store.mget([self.keys.worker(worker_id.decode()) for worker_id in ids]) if ids else []
        return [decode_spec(WorkerHeartbeat, value) for value in values if value is not None]

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
        self.store.close()

    @classmethod
    @contextmanager
    def opened(cls, bootstrap_servers: str, redis_url: str, namespace: str, folder: Path) -> "Iterator[Deployment]":
        """A deployment whose workers end with the block."""
        deployment = cls(bootstrap_servers, redis_url, namespace, folder)
        try:
            yield deployment
        finally:
            deployment.close()
