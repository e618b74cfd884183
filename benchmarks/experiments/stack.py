"""A whole deployment to experiment on: real Kafka, real Redis, `skysail up` on them, nothing deployed yet."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from benchmarks.load import Measurement, measure
from benchmarks.processes import Process
from skysail.admin.connection import Connection
from skysail.admin.deployers.python import deploy_python_closure
from tests.services import Kafka, Redis
from tests.services.ports import free_port
from tests.waiting import wait_until

__all__ = ["Stack"]

_UP_S = 90.0
_READY_S = 120.0


class Stack:
    """A `with` block runs it.

    Args:
        frontends: frontend processes on the one port.
        environment: settings of all processes.
    """

    def __init__(self, frontends: int = 1, environment: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._admin_port = free_port()
        self._frontends = frontends
        self._environment = environment or {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._launch()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def _launch(self) -> None:
        kafka = self.kafka = self._open.enter_context(Kafka(heap_mb=512))
        redis = self.redis = self._open.enter_context(Redis())
        self.folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="skysail-bench-")))
        state = self.folder / "state"
        command = [str(Path(sys.executable).with_name("skysail")), "up", "--state", str(state)]
        ports = ["--frontend-port", str(self.port), "--admin-port", str(self._admin_port)]
        services = ["--kafka", kafka.address, "--redis", redis.url, "--workers", str(self._frontends)]
        self.process = Process("experiment", [*command, *ports, *services], self._environment)
        self._open.callback(self.process.stop)
        wait_until(lambda: self._is_up(state), _UP_S, lambda: self.process.log.read_text(errors="replace")[-2000:])
        self.connection = self._open.enter_context(
            Connection(
                f"http://127.0.0.1:{self._admin_port}",
                frontend_url=f"http://127.0.0.1:{self.port}",
                signing_key=(state / "signing.key").read_bytes().strip(),
            )
        )

    def _is_up(self, state: Path) -> bool:
        if self.process.exited:
            message = f"`skysail up` ended\n{self.process.log.read_text(errors='replace')[-2000:]}"
            raise RuntimeError(message)
        return (state / "up.json").exists()

    def deploy(
        self, name: str, function: Callable[[Any], Any], *, slo_ms: float, cache_ttl_s: int = 0, **options: Any
    ) -> None:
        """Deploy a function and an application of the same name for it; returns when it answers.

        Args:
            name: of both.
            function: of one batch.
            slo_ms: the application's latency objective, which is its queries' deadline.
            cache_ttl_s: of the application; 0: every query is computed.
            options: `DeployOptions`, and `input_type`.
        """
        input_type = options.pop("input_type", "doubles")
        deploy_python_closure(self.connection, name, "1", function, input_type=input_type, **options)
        self.connection.register_application(name, input_type, slo_micros=int(slo_ms * 1000), cache_ttl_s=cache_ttl_s)
        self.connection.link_model_to_app(name, name)
        self.wait_replicas(name, options.get("num_replicas", 1))

    def scale(self, name: str, replicas: int) -> None:
        """Run so many workers, and wait until they share the partitions."""
        self.connection.set_num_replicas(name, replicas)
        self.wait_replicas(name, replicas)

    def wait_replicas(self, name: str, replicas: int) -> None:
        """Wait until exactly so many workers are ready, each with partitions of its own."""
        wait_until(lambda: self._is_shared_by(name, replicas), _READY_S, f"{replicas} workers of {name}")

    def _is_shared_by(self, name: str, replicas: int) -> bool:
        workers = [beat for beat in self.replicas(name) if beat["state"] == "ready"]
        partitions = [partition for beat in workers for partition in beat["partitions"]]
        shared = len(set(partitions)) == len(partitions) and all(beat["partitions"] for beat in workers)
        return len(workers) == replicas and shared

    def replicas(self, name: str) -> list[dict[str, Any]]:
        """Heartbeats of the workers of a model."""
        return [beat for beat in self.connection.get_all_model_replicas(verbose=True) if beat["model"] == name]

    def url(self, app: str) -> str:
        """Where an application is asked."""
        return f"http://127.0.0.1:{self.port}/{app}/predict"

    def load(self, app: str, bodies: Path, concurrency: int, seconds: float) -> Measurement:
        """A closed loop of wrk, which takes whole seconds."""
        return measure(self.url(app), bodies, concurrency, max(1, round(seconds)))

    def bodies(self, name: str, rows: list[Any]) -> Path:
        """A file with one request body a line, for wrk."""
        path = self.folder / f"{name}.bodies"
        with path.open("w") as file:
            file.writelines(json.dumps({"input": row}) + "\n" for row in rows)
        return path

    def frontend_processes(self) -> list[psutil.Process]:
        """The processes that answer requests: with several on one port, the children of the one that was started."""
        family = self.process.family()
        started = next(process for process in family if "skysail.frontend" in process.cmdline())
        if self._frontends == 1:
            return [started]
        return [child for child in started.children() if any("spawn_main" in part for part in child.cmdline())]

    def counters(self) -> dict[str, float]:
        """The frontends' counters by name and labels, without those of histograms."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).raise_for_status().text
        lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith("skysail_")]
        return {name: float(value) for name, _, value in lines if "_bucket{" not in name}
