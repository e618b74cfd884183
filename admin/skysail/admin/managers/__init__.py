"""Managers start and stop workers: as child processes (`local`), or not at all (`external`: yours)."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Manager"]


class Manager(Protocol):
    """Keeps as many workers of a version running as it is told."""

    #: Whether this manager starts workers by itself.
    starts_workers: bool

    async def scale(self, name: str, version: str, replicas: int) -> None:
        """Run so many workers of a version; those beyond are drained. Raises ManagerError."""
        ...

    def failure(self, name: str, version: str) -> str | None:
        """The end of the log of a worker that could not load its model, or None."""
        ...

    def logs(self, name: str, version: str, lines: int) -> dict[str, str]:
        """The end of each worker's log, by worker slot. Raises NotFoundError when none was kept."""
        ...

    async def close(self) -> None:
        """Drain and stop all workers."""
        ...
