"""Redis, as a deployment would run it: with an append-only file."""

import shutil
from typing import ClassVar

from tests.services.ports import HOST
from tests.services.readiness import store_answers
from tests.services.service import Service

__all__ = ["Redis"]


class Redis(Service):
    """A real Redis. Each write is in its append-only file before it is answered, so even `kill` loses none."""

    name: ClassVar[str] = "redis"

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`."""
        return f"redis://{self.address}/0"

    @classmethod
    def missing(cls) -> str | None:
        """Whether redis-server is installed."""
        return None if shutil.which("redis-server") else "redis-server is not installed"

    def binary(self) -> str:
        """The server's program."""
        return "redis-server"

    def command(self) -> list[str]:
        """All settings are on the command line; snapshots are off, the append-only file is the only data."""
        return [
            *(self.binary(), "--bind", HOST, "--port", str(self.port), "--dir", str(self.data)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        ]

    def is_ready(self) -> bool:
        """Whether it answers PING."""
        return store_answers(self.port)
