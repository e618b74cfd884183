"""The peers: what each is started with. Their applications are in `benchmarks/peers`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from benchmarks.processes import Process
from benchmarks.servers.base import Server
from benchmarks.servers.venvs import peer_folder, peer_python
from tests.services.ports import free_port

__all__ = ["PEERS", "Peer"]

_APPS = Path(__file__).parents[1] / "peers"
_MODEL = ("scikit-learn==1.9.1", "joblib==1.6.0", "onnxruntime==1.32.0")
_NUMPY = "numpy==2.4.6"
_UVICORN = ("uvicorn==0.54.0", "httptools==0.9.0")
MAX_BATCH = 64


class Peer(Server):
    """A server of others in an environment of its own.

    pins: exact versions; the first is the peer itself.
    interpreter: that its environment is made with.
    wait_ms: how long a batch waits to be filled, where that can be set.
    path: of one query.
    """

    pins: ClassVar[tuple[str, ...]]
    interpreter: ClassVar[str] = sys.executable
    wait_ms: ClassVar[int] = 1
    path: ClassVar[str]
    settings: ClassVar[str] = f"window 1 ms, batch ≤ {MAX_BATCH}"

    def launch(self) -> None:
        python = peer_python(self.name, self.pins, self.interpreter)
        self.process = Process(self.name, self.command(python), self.environment())

    def command(self, python: str) -> list[str]:
        """By default the peer's application as a program."""
        return [python, str(_APPS / f"{self.name}_app.py")]

    def environment(self) -> dict[str, str]:
        """What the applications read."""
        return {
            "PYTHONPATH": str(_APPS),
            "MODEL": str(self.workload.model_path),
            "DATATYPE": self.workload.datatype,
            "COLUMNS": str(self.workload.columns),
            "MAX_BATCH": str(MAX_BATCH),
            "WAIT_MS": str(self.wait_ms),
            "PORT": str(self.port),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def versions(self) -> dict[str, str]:
        name, _, version = self.pins[0].partition("==")
        return {name.partition("[")[0]: version}


class Mosec(Peer):
    """Rust in front, Python workers behind."""

    name = "mosec"
    settings = "max_wait_time 1"
    pins = ("mosec==0.9.8", _NUMPY, *_MODEL)
    path = "/inference"

    def command(self, python: str) -> list[str]:
        return [*super().command(python), "--port", str(self.port), "--timeout", "20000"]


class Mosec0(Mosec):
    settings = "max_wait_time 0"
    wait_ms = 0


class Mosec5(Mosec):
    settings = "max_wait_time 5"
    wait_ms = 5


class Mosec10(Mosec):
    settings = "max_wait_time 10"
    wait_ms = 10


class MLServer(Peer):
    """One parallel worker, adaptive batching. Newer uvloops break its worker pool."""

    name = "mlserver"
    pins = ("mlserver==1.7.1", "uvloop==0.21.0", _NUMPY, *_MODEL)
    path = "/v2/models/served/infer"
    form = "oip"

    def command(self, python: str) -> list[str]:
        self._folder = tempfile.TemporaryDirectory(prefix="mlserver-bench-")
        settings = {"parallel_workers": 1, "debug": False, "host": "127.0.0.1", "metrics_endpoint": None}
        ports = {"http_port": self.port, "grpc_port": free_port(), "metrics_port": free_port()}
        model = {"name": "served", "implementation": "mlserver_app.Served", "max_batch_size": MAX_BATCH}
        folder = Path(self._folder.name)
        (folder / "settings.json").write_text(json.dumps(settings | ports))
        (folder / "model-settings.json").write_text(json.dumps(model | {"max_batch_time": self.wait_ms / 1000}))
        return [str(Path(python).with_name("mlserver")), "start", str(folder)]

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "_folder"):
            self._folder.cleanup()


class LitServe(Peer):
    """One worker, its fast queue."""

    name = "litserve"
    pins = ("litserve==0.2.19", _NUMPY, *_MODEL)
    path = "/predict"


class BentoML(Peer):
    """Its batcher decides how long to wait."""

    name = "bentoml"
    settings = f"adaptive, batch ≤ {MAX_BATCH}"
    pins = ("bentoml==1.4.39", _NUMPY, *_MODEL)
    path = "/predict"
    form = "listed"

    def command(self, python: str) -> list[str]:
        serve = [str(Path(python).with_name("bentoml")), "serve", "bentoml_app:Served"]
        return [*serve, "--working-dir", str(_APPS), "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        home = peer_folder(self.name) / "home"
        return {**super().environment(), "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(home)}


class RayServe(Peer):
    """One replica."""

    name = "ray"
    pins = ("ray[serve]==2.60.0", _NUMPY, *_MODEL)
    path = "/"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "RAY_USAGE_STATS_ENABLED": "0"}


class KServe(Peer):
    """The SDK's server. Batching is another program's there."""

    name = "kserve"
    settings = "no batching"
    pins = ("kserve==0.21.0", _NUMPY, *_MODEL)
    path = "/v2/models/served/infer"
    form = "oip"


class PyTriton(Peer):
    """Triton's binary is built for the system's Python 3.11; numpy 2 is too new for it."""

    name = "pytriton"
    interpreter = "/usr/bin/python3"
    pins = ("nvidia-pytriton==0.7.0", "numpy==1.26.4", *_MODEL)
    path = "/v2/models/served/infer"
    form = "oip"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "GRPC_PORT": str(free_port())}


class FastApi(Peer):
    """A plain FastAPI application on uvicorn: no batching."""

    name = "fastapi"
    settings = "def endpoint"
    pins: ClassVar[tuple[str, ...]] = ("fastapi==0.165.0", *_UVICORN, "uvloop==0.23.0", _NUMPY, *_MODEL)
    path = "/predict"

    def command(self, python: str) -> list[str]:
        options = ["--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        return [python, "-m", "uvicorn", f"{self.name.replace('-', '_')}_app:app", *options]


class AsgiEcho(FastApi):
    """The ceiling of a Python frontend: bare ASGI on uvicorn, uvloop and httptools; no model."""

    name = "asgi-echo"
    settings = "ceiling"
    pins = (*_UVICORN, "uvloop==0.23.0")
    computes = False


PEERS: dict[str, type[Peer]] = {
    "mosec": Mosec,
    "mosec-0": Mosec0,
    "mosec-5": Mosec5,
    "mosec-10": Mosec10,
    "mlserver": MLServer,
    "litserve": LitServe,
    "bentoml": BentoML,
    "ray": RayServe,
    "kserve": KServe,
    "pytriton": PyTriton,
    "fastapi": FastApi,
    "asgi-echo": AsgiEcho,
}
