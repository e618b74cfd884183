"""The admin process (and a frontend) as tests start them: each with a folder, a log and a namespace of its own."""

from __future__ import annotations

import os
import signal
import sys
from functools import cached_property
from typing import ClassVar

import httpx
import psutil

from skysail.admin.connection import Connection
from tests.services import Service

__all__ = ["SIGNING_KEY", "AdminProcess", "FrontendProcess"]

SIGNING_KEY = "the key of the tests"


class Process(Service):
    """A process of Skysail's own.

    Args:
        kafka: ``host:port``.
        redis_url: of the store.
        namespace: of this test.
        settings: ``SKYSAIL_*`` variables without the prefix.
    """

    part: ClassVar[str]
    stop_timeout_s: ClassVar[float] = 45

    def __init__(self, kafka: str, redis_url: str, namespace: str, **settings: str) -> None:
        super().__init__()
        self.namespace = namespace
        self._settings = {
            "NAMESPACE": namespace,
            "KAFKA__BOOTSTRAP_SERVERS": kafka,
            "KAFKA__SESSION_TIMEOUT_MS": "3000",
            "KAFKA__HEARTBEAT_INTERVAL_MS": "500",
            "REDIS__URL": redis_url,
            **settings,
        }

    @classmethod
    def missing(cls) -> str | None:
        """It is always there."""
        return None

    def command(self) -> list[str]:
        """Through `env`, which becomes the process: settings belong to this process alone."""
        settings = {**self._settings, f"{self.part.upper()}__PORT": str(self.port), **self.more_settings()}
        variables = [f"SKYSAIL_{name}={value}" for name, value in settings.items()]
        return ["env", "OMP_NUM_THREADS=1", *variables, sys.executable, "-m", f"skysail.{self.part}"]

    def more_settings(self) -> dict[str, str]:
        """Those that need the folder."""
        return {}

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{self.address}"

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


class AdminProcess(Process):
    """`python -m skysail.admin`."""

    name: ClassVar[str] = "admin"
    part: ClassVar[str] = "admin"

    def more_settings(self) -> dict[str, str]:
        """Everything that it keeps is in its data folder."""
        return {
            "ARTIFACTS__PATH": str(self.data / "artifacts"),
            "ARTIFACTS__SIGNING_KEY": SIGNING_KEY,
            "ADMIN__LOGS": str(self.data / "logs"),
        }

    @cached_property
    def connection(self) -> Connection:
        """The admin library; closed with the process."""
        return Connection(self.url, signing_key=SIGNING_KEY.encode())

    def close(self) -> None:
        """Stop it in good order, so that its workers end before its folder goes."""
        if "connection" in self.__dict__:
            self.connection.close()
        if self.is_running:
            self.stop()
        super().close()

    def worker_pids(self) -> list[int]:
        """Processes of the workers that it runs."""
        return [one["pid"] for one in self.connection.get_processes() if one["pid"] is not None]

    def children(self) -> list[psutil.Process]:
        """All its child processes, asked of the system."""
        return psutil.Process(self.pid).children()


class FrontendProcess(Process):
    """`python -m skysail.frontend`."""

    name: ClassVar[str] = "frontend"
    part: ClassVar[str] = "frontend"


def end(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that a test started."""
    os.kill(pid, number)
