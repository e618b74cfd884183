"""Skysail under test: `skysail up` on real services, or on embedded ones."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.model import lazy
from benchmarks.processes import Process
from benchmarks.servers.base import Server
from benchmarks.workloads import Workload
from skysail.admin.connection import Connection
from skysail.admin.deployers.python import deploy_python_closure
from skysail.admin.deployers.sklearn import deploy_sklearn_model
from tests.services import Kafka, Redis
from tests.services.ports import free_port
from tests.waiting import wait_until

__all__ = ["Skysail", "SkysailEmbedded"]

_UP_S = 60
_OBJECTIVE_MS = 20.0


class Skysail(Server):
    """Skysail on a real Kafka and a real Redis, with its defaults, but the cache off: every query is computed."""

    name = "skysail"
    settings = "kafka"

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.admin_port = free_port()
        self._stack = ExitStack()

    def _broker_and_store(self) -> list[str]:
        kafka = self._stack.enter_context(Kafka(heap_mb=512))
        redis = self._stack.enter_context(Redis())
        return ["--kafka", kafka.address, "--redis", redis.url]

    def launch(self) -> None:
        state = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="skysail-bench-"))
        ports = ["--frontend-port", str(self.port), "--admin-port", str(self.admin_port)]
        command = [str(Path(sys.executable).with_name("skysail")), "up", "--state", state, *ports]
        self.process = Process("skysail", [*command, *self._broker_and_store()])
        self.state = Path(state)

    def ready(self) -> None:
        wait_until((self.state / "up.json").exists, _UP_S, lambda: self.process.log.read_text(errors="replace"))
        with self.connection() as connection:
            self._deploy(connection)
            name = self.workload.name
            connection.register_application(name, self.workload.input_type, slo_micros=20_000_000, cache_ttl_s=0)
            connection.link_model_to_app(name, name)
        super().ready()

    def _deploy(self, connection: Connection) -> None:
        name, kind = self.workload.name, self.workload.input_type
        if self.workload.suffix == ".joblib":
            model = self.workload.load()
            deploy_sklearn_model(connection, name, "1", model, input_type=kind, objective_ms=_OBJECTIVE_MS)
        else:
            predict = lazy(self.workload.model_path)
            deploy_python_closure(connection, name, "1", predict, input_type=kind, objective_ms=_OBJECTIVE_MS)

    def connection(self) -> Connection:
        """The admin's client."""
        return Connection(
            f"http://127.0.0.1:{self.admin_port}",
            frontend_url=f"http://127.0.0.1:{self.port}",
            signing_key=(self.state / "signing.key").read_bytes().strip(),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.workload.name}/predict"

    def stop(self) -> None:
        super().stop()
        self._stack.close()


class SkysailEmbedded(Skysail):
    """The same on the embedded broker and store."""

    settings = "embedded"

    def _broker_and_store(self) -> list[str]:
        return ["--broker-port", str(free_port()), "--store-port", str(free_port())]
