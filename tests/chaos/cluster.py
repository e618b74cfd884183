"""A whole Skysail on a Kafka and a Redis of its own, every part a process that a test may kill."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from skysail.admin.connection import Connection
from skysail.admin.deployers.python import deploy_python_closure
from tests.services import Kafka, Redis
from tests.services.ports import free_port
from tests.waiting import wait_until

__all__ = ["Cluster", "Part"]

_START_S = 60.0
_STOP_S = 30.0


class Part:
    """One of Skysail's processes."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self.module = module
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it; with the same settings as before, if it ran before."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end; kill it when it does not."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def log_tail(self, lines: int = 40) -> str:
        """The end of its output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


class Cluster:
    """Kafka, Redis, admin and one or more frontends; workers are the admin's children.

    Args:
        folder: for artifacts, logs and state.
        kafka, redis: started by the caller, for this cluster alone.
    """

    def __init__(self, folder: Path, kafka: Kafka, redis: Redis) -> None:
        self.folder = folder
        self.kafka = kafka
        self.redis = redis
        self._stack = ExitStack()
        self._key = secrets.token_hex(16)
        self.admin_port = free_port()
        self.frontend_ports: list[int] = []
        self.frontends: list[Part] = []
        self.admin: Part

    def _environment(self, **extra: str) -> dict[str, str]:
        return {
            "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": self.kafka.address,
            "SKYSAIL_KAFKA__SESSION_TIMEOUT_MS": "3000",
            "SKYSAIL_KAFKA__HEARTBEAT_INTERVAL_MS": "500",
            "SKYSAIL_REDIS__URL": self.redis.url,
            "SKYSAIL_ARTIFACTS__PATH": str(self.folder / "artifacts"),
            "SKYSAIL_ARTIFACTS__SIGNING_KEY": self._key,
            "SKYSAIL_ADMIN__PORT": str(self.admin_port),
            "SKYSAIL_ADMIN__LOGS": str(self.folder / "logs"),
            "OMP_NUM_THREADS": "1",
            **extra,
        }

    def _part(self, module: str, name: str, **extra: str) -> Part:
        part = Part(module, self._environment(**extra), self.folder / f"{name}.log")
        part.start()
        self._stack.callback(part.stop)
        return part

    def start(self, frontends: int = 1) -> None:
        """Start admin and frontends, and wait until they answer."""
        self.admin = self._part("skysail.admin", "admin")
        for number in range(frontends):
            port = free_port()
            self.frontend_ports.append(port)
            self.frontends.append(
                self._part("skysail.frontend", f"frontend-{number}", SKYSAIL_FRONTEND__PORT=str(port))
            )
        self._answers(f"http://127.0.0.1:{self.admin_port}/admin/ping", self.admin)
        for port, part in zip(self.frontend_ports, self.frontends, strict=True):
            self._answers(f"http://127.0.0.1:{port}/readyz", part)

    def _answers(self, url: str, part: Part) -> None:
        wait_until(lambda: ok(url), _START_S, lambda: f"{url} answers 200\n{part.log_tail()}")

    @cached_property
    def connection(self) -> Connection:
        """The admin library."""
        url = f"http://127.0.0.1:{self.admin_port}"
        connection = Connection(url, frontend_url=self.url(""), signing_key=self._key.encode())
        return self._stack.enter_context(connection)

    def url(self, path: str, frontend: int = 0) -> str:
        """A URL of one of the frontends."""
        return f"http://127.0.0.1:{self.frontend_ports[frontend]}{path}"

    def deploy(
        self, model: str, version: str, predict: Callable[..., Any], *, replicas: int = 1, **options: Any
    ) -> None:
        """Deploy a closure over strings; it becomes current."""
        deploy_python_closure(
            self.connection, model, version, predict, input_type="strings", num_replicas=replicas, **options
        )

    def serve(
        self, model: str, predict: Callable[..., Any], *, replicas: int = 1, slo_s: float = 30, **app: Any
    ) -> str:
        """Deploy version 1 and an application of the same name; returns the URL to ask."""
        self.deploy(model, "1", predict, replicas=replicas)
        self.connection.register_application(model, "strings", slo_micros=int(slo_s * 1e6), **app)
        self.connection.link_model_to_app(model, model)
        wait_until(lambda: self._serves(model), _START_S, f"{model} answers")
        return self.url(f"/{model}/predict")

    def _serves(self, model: str) -> bool:
        answer = httpx.post(self.url(f"/{model}/predict"), json={"input": "hello"}, timeout=20)
        return answer.status_code == 200

    def worker_pids(self, model: str) -> list[int]:
        """Processes that serve a model, by their heartbeats."""
        replicas = self.connection.get_all_model_replicas(verbose=True)
        return [replica["pid"] for replica in replicas if replica["model"] == model and replica["state"] == "ready"]

    def stop(self) -> None:
        """Stop everything, the last started first."""
        self._stack.close()


def ok(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def cluster_of(folder: Path, kafka: Kafka, redis: Redis, frontends: int = 1) -> Iterator[Cluster]:
    """A cluster for the length of a block."""
    cluster = Cluster(folder, kafka, redis)
    try:
        cluster.start(frontends)
        yield cluster
    finally:
        cluster.stop()
