"""Managers start and stop workers: as child processes (`local`), or not at all (`external`: yours)."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Manager", "Replica"]


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One worker that a manager keeps running.

    Attributes:
        slot: ``<model>.<version>.<number>``; its state folder and its log are kept under this name.
        state: ``running``, ``backing-off`` (it ended, and is started again soon) or ``stopped`` (it will not be).
        pid: of the process, while there is one.
        restarts: since the worker was asked for.
        last_exit: how the process before this one ended, in words; None: it never did.
    """

    slot: str
    model: str
    version: str
    state: str
    pid: int | None
    restarts: int
    last_exit: str | None


class Manager(Protocol):
    """Keeps as many workers of a version running as it is told."""

    #: Whether this manager starts workers by itself.
    starts_workers: bool

    async def scale(self, name: str, version: str, replicas: int) -> None:
        """Run so many workers of a version; those beyond are drained, those that had given up are started again.

        Raises:
            ManagerError: when a worker cannot be started.
        """
        ...

    def failure(self, name: str, version: str) -> str | None:
        """Why workers do not get ready, in their own words: the end of the log of one that does not come up; or None.

        Counted from the last `scale` of the version.
        """
        ...

    def replicas(self) -> list[Replica]:
        """All workers that are kept running."""
        ...

    def logs(self, name: str, version: str, lines: int) -> dict[str, str]:
        """The end of each worker's log, by slot; blocking. Raises NotFoundError when none was kept."""
        ...

    async def close(self) -> None:
        """Drain and stop all workers."""
        ...
