"""The servers that are compared, each with one worker and the same model file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import Process, first_line, wait_answer
from benchmarks.workloads import CACHE, Workload
from skysail.admin.connection import Connection
from skysail.admin.deployers.sklearn import deploy_sklearn_model
from tests.services import Kafka, Redis
from tests.services.ports import free_port

__all__ = ["SERVERS", "FastApi", "Mosec", "Server", "Skysail"]

_HERE = Path(__file__).parent


class Server(ABC):
    """One server under test; a `with` block runs it."""

    name: str
    settings: str

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.port = free_port()
        self.process: Process

    @abstractmethod
    def launch(self) -> None:
        """Start it, with the workload's model."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where one row is asked for."""

    def versions(self) -> dict[str, str]:
        """Of the packages that the server has for itself."""
        return {}

    def ready(self) -> None:
        """Wait for the first good answer."""
        wait_answer(self.process, self.url, first_line(self.workload.bodies_path))

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it."""
        if hasattr(self, "process"):
            self.process.stop()


class Skysail(Server):
    """Skysail on a real Kafka and a real Redis, with its defaults, but the cache off: every query is computed."""

    name = "skysail"
    settings = "kafka"
    up_options: tuple[str, ...] = ()

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
        from tests.waiting import wait_until

        wait_until((self.state / "up.json").exists, 60, lambda: self.process.log.read_text(errors="replace"))
        connection = self.connection()
        name = self.workload.name
        model = self.workload.load()
        deploy_sklearn_model(connection, name, "1", model, input_type="doubles", objective_ms=20)
        connection.register_application(name, "doubles", slo_micros=20_000_000, cache_ttl_s=0)
        connection.link_model_to_app(name, name)
        super().ready()

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


class Mosec(Server):
    """Mosec in an environment of its own, batches of at most 64."""

    name = "mosec"
    settings = "max_wait_time 1"
    pins = ("mosec==0.9.8", "scikit-learn==1.9.1", "numpy==2.4.6", "joblib==1.6.0")
    wait_ms = "1"

    def launch(self) -> None:
        python = peer_python(self.name, self.pins)
        environment = {"MODEL": str(self.workload.model_path), "WAIT_MS": self.wait_ms}
        command = [python, str(_HERE / "peers" / "mosec_app.py"), "--port", str(self.port), "--timeout", "20000"]
        self.process = Process(self.name, command, environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/inference"

    def versions(self) -> dict[str, str]:
        return dict(pin.split("==") for pin in self.pins[:1])


class FastApi(Server):
    """A plain FastAPI application on uvicorn: no batching."""

    name = "fastapi"
    settings = "def endpoint"

    def launch(self) -> None:
        options = ["--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        command = [sys.executable, "-m", "uvicorn", "benchmarks.peers.fastapi_app:app", *options]
        self.process = Process(self.name, command, {"MODEL": str(self.workload.model_path)})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/predict"


def peer_python(name: str, pins: tuple[str, ...]) -> str:
    """The interpreter of a peer's own environment, made on first use."""
    folder = CACHE / "peers" / name
    python = folder / "bin" / "python"
    stamp = folder / "pins.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != list(pins):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *pins], check=True)
        stamp.write_text(json.dumps(pins))
    return str(python)


SERVERS: dict[str, type[Server]] = {
    "skysail": Skysail,
    "skysail-embedded": SkysailEmbedded,
    "mosec": Mosec,
    "fastapi": FastApi,
}
