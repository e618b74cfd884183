"""Workers are started by somebody else: docker-compose, an orchestrator, a person."""

from __future__ import annotations

from skysail.admin.managers import Replica
from skysail.topics.errors import NotFoundError

__all__ = ["ExternalManager"]


class ExternalManager:
    """Starts nothing; a deployment waits for the workers' heartbeats."""

    starts_workers = False

    async def scale(self, name: str, version: str, replicas: int) -> None:
        """Left to whoever runs the workers."""

    def failure(self, name: str, version: str) -> str | None:
        """Known from heartbeats alone."""
        del name, version
        return None

    def replicas(self) -> list[Replica]:
        """None is kept running here."""
        return []

    def logs(self, name: str, version: str, lines: int) -> dict[str, str]:
        """Not kept here."""
        del lines
        message = f"logs of model {name} version {version} are where its workers run; this manager does not start them"
        raise NotFoundError(message)

    async def close(self) -> None:
        """Nothing to stop."""
