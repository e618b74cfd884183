"""What `skysail up` can be told."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skysail.topics.errors import SkysailError

__all__ = ["StackError", "StackOptions"]


class StackError(SkysailError):
    """Raised when the stack cannot be started, stopped or found."""


class StackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run the stack.

    Attributes:
        state: folder for everything that is kept.
        kafka, redis: addresses of yours; None: the embedded ones.
        host: that frontend and admin listen on.
        frontend_port, admin_port, broker_port, store_port: all on this machine.
        frontend_workers: frontend processes on the one port.
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

    def ports(self) -> dict[str, tuple[str, int]]:
        """Host and port of each part that is started here, by the part's name."""
        ports = {"frontend": (self.host, self.frontend_port), "admin": (self.host, self.admin_port)}
        if self.kafka is None:
            ports["broker"] = ("127.0.0.1", self.broker_port)
        if self.redis is None:
            ports["store"] = ("127.0.0.1", self.store_port)
        return ports
