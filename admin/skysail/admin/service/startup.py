"""What the admin process does before it is ready, and goes on watching: store, broker, topics, workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from skysail.admin.service.ledger import Ledger
from skysail.admin.service.versions import Versions
from skysail.admin.service.wanted import managed_versions, topics_of
from skysail.topics.errors import ManagerError, SkysailError
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import TopicNames
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["Startup"]

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_RETRY_S = 0.5
_LOOK_EVERY_S = 3.0


class Startup:
    """Brings everything up, and back up.

    Args:
        ledger, versions, topics: what is brought up.
        names: topic names of the namespace.
        look_every_s: how often the broker is asked whether it still has its topics.
    """

    def __init__(
        self,
        ledger: Ledger,
        versions: Versions,
        topics: TopicAdmin,
        names: TopicNames,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._ledger = ledger
        self._versions = versions
        self._topics = topics
        self._names = names
        self._look_every_s = look_every_s
        #: Why the process is not ready; None: it is.
        self.problem: str | None = "starting"

    async def run(self) -> None:
        """Wait for the store and restore the registry; wait for the broker and make its topics; start the workers.

        Then watch the broker for ever: one that keeps its records in memory comes back without its topics.
        """
        snapshot = await self._until_done("store", self._ledger.reconcile)
        await self._until_done("broker", lambda: self._topics.create(topics_of(self._names, snapshot)))
        # Without a topic to make, the broker has not been asked for anything yet.
        await self._until_done("broker", lambda: self._topics.partitions(self._names.model("readiness")))
        # What the process before this one was deploying when it was killed must not be started.
        await self._until_done("store", self._versions.undo_unfinished)
        await self._start_workers(snapshot)
        self.problem = None
        _log.info("ready", apps=len(snapshot.apps), models=len(snapshot.models))
        while True:
            await asyncio.sleep(self._look_every_s)
            await self._look()

    async def _until_done(self, part: str, work: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await work()
            except (SkysailError, RedisError) as error:  # nothing of it is for ever: somebody may put it right
                if self.problem != str(error):
                    _log.warning("waiting", part=part, error=str(error))
                self.problem = str(error)
                await asyncio.sleep(_RETRY_S)

    async def _start_workers(self, snapshot: RegistrySnapshot) -> None:
        for spec in managed_versions(snapshot):
            try:
                await self._versions.keep_running(spec.name, spec.version)
            except ManagerError as error:
                _log.error("workers_not_started", model=spec.name, version=spec.version, error=str(error))

    async def _look(self) -> None:
        try:
            topics = topics_of(self._names, await self._ledger.snapshot())
            if topics and await self._topics.partitions(next(iter(topics))) is None:
                await self._topics.create(topics)
                _log.warning("topics_made_again", topics=len(topics))
            await self._versions.undo_unfinished()
            self.problem = None
        except (SkysailError, RedisError) as error:
            if self.problem is None:
                _log.warning("not_ready", error=str(error), action="trying again")
            self.problem = str(error)
