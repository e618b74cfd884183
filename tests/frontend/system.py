"""Frontend and worker processes on real servers, for tests of the whole way of a query."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from tests.services.ports import free_port
from tests.services.service import LOGS
from tests.waiting import wait_until
from tests.workers.harness import Deployment

__all__ = ["FrontendProcess", "System", "acts", "sums", "system_of", "wait_for_answer"]

START_S = 30.0
STOP_S = 20.0


def sums(batch: Any) -> list[float]:
    """The sum of each row of numbers."""
    return [float(sum(row)) for row in batch]


_calls: dict[str, int] = {}


def acts(batch: list[Any]) -> list[Any]:
    """Does what each row says: ``{"sleep": seconds}``, ``{"raise": text}``; else counts how often it saw the row."""
    seen = []
    for row in batch:
        if isinstance(row, dict) and "sleep" in row:
            time.sleep(row["sleep"])
        if isinstance(row, dict) and "raise" in row:
            raise ValueError(row["raise"])
        key = json.dumps(row)
        _calls[key] = _calls.get(key, 0) + 1
        seen.append({"row": row, "times": _calls[key]})
    return seen


class FrontendProcess:
    """`python -m skysail.frontend` with settings of its own."""

    def __init__(self, environment: dict[str, str], *flags: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = LOGS / f"frontend-{self.port}.log"
        self._flags = flags
        self._environment = {**os.environ, **environment, "SKYSAIL_FRONTEND__PORT": str(self.port)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def launch(self) -> None:
        """Start it, without waiting."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "skysail.frontend", *self._flags],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self, path: str = "/readyz") -> FrontendProcess:
        """Start it, and wait until `path` is answered with 200."""
        self.launch()
        self.wait_for(path, 200)
        return self

    def wait_for(self, path: str, status: int, timeout_s: float = START_S) -> httpx.Response:
        """Until a GET of `path` is answered with `status`."""

        def answered() -> httpx.Response | None:
            code = self.process.poll()
            assert code is None, f"the frontend exited with {code}\n{self.log_tail()}"
            try:
                response = httpx.get(self.url + path, timeout=5)
            except httpx.TransportError:
                return None
            return response if response.status_code == status else None

        found = wait_until(answered, timeout_s, lambda: f"{path} answered with {status}\n{self.log_tail()}")
        assert found is not None
        return found

    def stop(self, number: int | None = None) -> int:
        """Ask it to end, by SIGTERM or another signal; returns the exit status."""
        if number is None:
            self.process.terminate()
        else:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log_tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])


class System(Deployment):
    """A deployment with applications and frontends."""

    def __init__(self, bootstrap_servers: str, redis_url: str, namespace: str, folder: Path) -> None:
        super().__init__(bootstrap_servers, redis_url, namespace, folder)
        self._frontends: list[FrontendProcess] = []

    @property
    def environment(self) -> dict[str, str]:
        """Of a frontend."""
        return {
            "SKYSAIL_NAMESPACE": self.namespace,
            "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SKYSAIL_REDIS__URL": self.redis_url,
        }

    def frontend(self, *flags: str, port: int | None = None, **settings: object) -> FrontendProcess:
        """A frontend that is not started yet; `settings` are SKYSAIL_FRONTEND__* by their last names."""
        own = {f"SKYSAIL_FRONTEND__{name.upper()}": str(value) for name, value in settings.items()}
        self._frontends.append(FrontendProcess({**self.environment, **own}, *flags, port=port))
        return self._frontends[-1]

    def register(self, *apps: ApplicationSpec, model: str) -> None:
        """Register applications, linked to a model, with their feedback topics."""
        asyncio.run(self._register_apps(apps, model))

    async def _register_apps(self, apps: tuple[ApplicationSpec, ...], model: str) -> None:
        await TopicAdmin(self.kafka, 1).create({self.topics.feedback(app.name): 1 for app in apps})
        async with async_store(self.redis_url) as store:
            registry = Registry(store, self.keys)
            for app in apps:
                await registry.create_app(app)
                await registry.put_link(Link(app=app.name, models=(model,)))

    def serve(self, *models: tuple[ModelSpec, Callable[[Any], Any], list[ApplicationSpec]]) -> None:
        """Models that are served, each with its applications."""
        workers = []
        for spec, function, apps in models:
            self.deploy(spec, function)
            self.register(*apps, model=spec.name)
            workers.append(self.worker(spec.name, spec.version))
            workers[-1].start()
        for worker in workers:
            worker.wait_ready()

    def close(self) -> None:
        """End all processes."""
        for frontend in self._frontends:
            frontend.kill()
        super().close()


@contextmanager
def system_of(bootstrap_servers: str, redis_url: str, namespace: str, folder: Path) -> Iterator[System]:
    """A system whose processes end with the block."""
    system = System(bootstrap_servers, redis_url, namespace, folder)
    try:
        yield system
    finally:
        system.close()


def wait_for_answer(url: str, body: Any, status: int = 200, timeout_s: float = START_S) -> httpx.Response:
    """Until a POST is answered with `status`."""
    last: list[str] = []

    def answered() -> httpx.Response | None:
        response = httpx.post(url, json=body, timeout=15)
        last[:] = [f"{response.status_code} {response.text}"]
        return response if response.status_code == status else None

    found = wait_until(answered, timeout_s, lambda: f"{url} answered with {status}, not {last}")
    assert found is not None
    return found
