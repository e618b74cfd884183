"""How a version comes into the registry, with its topics, and how it goes again: whole, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import structlog
from redis.exceptions import RedisError

from skysail.admin.artifact_store import ArtifactStore
from skysail.admin.managers import Manager
from skysail.admin.service.ledger import Ledger
from skysail.admin.service.locks import ModelLocks
from skysail.admin.service.rules import check_artifact, check_new
from skysail.admin.service.unfinished import Unfinished
from skysail.admin.service.wanted import version_topics
from skysail.topics.errors import SkysailError
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import TopicNames, dead_letter_topic
from skysail.topics.specs import ModelSpec

__all__ = ["Registration"]

_log = structlog.get_logger(__name__)


class Registration:
    """Every method raises UnavailableError when store or broker is away; who calls holds the model's lock.

    Args:
        ledger, topics, artifacts, manager: where a version leaves its traces.
        unfinished: deployments that are under way.
        names: topic names of the namespace.
        now_ms: unix ms.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        topics: TopicAdmin,
        artifacts: ArtifactStore,
        manager: Manager,
        unfinished: Unfinished,
        names: TopicNames,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ledger = ledger
        self._topics = topics
        self._artifacts = artifacts
        self._manager = manager
        self._unfinished = unfinished
        self._names = names
        self._now_ms = now_ms

    async def with_artifact(self, spec: ModelSpec) -> ModelSpec:
        """The specification with what the stored artifact, which is verified, says of itself; without one as it is.

        Raises:
            ArtifactError, SignatureError: when the artifact is not whole, or not signed with the key.
            BadInputError, ConflictError: when it is not the one that is meant.
        """
        if not self._artifacts.has(spec.name, spec.version):
            return msgspec.structs.replace(spec, framework="", artifact_digest="")
        manifest = await asyncio.to_thread(self._artifacts.manifest, spec.name, spec.version)
        check_artifact(spec, manifest)
        return msgspec.structs.replace(spec, framework=manifest.framework, artifact_digest=manifest.digest)

    async def register(self, spec: ModelSpec) -> None:
        """Make the version's topics, then itself. Raises ConflictError, BadInputError."""
        async with self._ledger.writing() as (registry, snapshot):
            check_new(snapshot, spec.name, spec.version, spec.input_type)
            await self._topics.create(version_topics(self._names, spec))
            await registry.create_model(msgspec.structs.replace(spec, created_ms=self._now_ms()))
        _log.info("registered", model=spec.name, version=spec.version)

    @asynccontextmanager
    async def whole_or_not_at_all(self, spec: ModelSpec) -> AsyncIterator[None]:
        """A version that fails in the block leaves nothing behind: now, or as soon as that is possible again."""
        await asyncio.to_thread(self._unfinished.begin, spec.name, spec.version)
        try:
            yield
            await asyncio.to_thread(self._unfinished.end, spec.name, spec.version)
        except BaseException:  # also a request or process that ends
            await self._undo(spec.name, spec.version)
            raise

    async def _undo(self, name: str, version: str) -> None:
        _log.warning("deployment_undone", model=name, version=version)
        try:
            await self._manager.scale(name, version, 0)
            await self.forget(name, version)
            await asyncio.to_thread(self._unfinished.end, name, version)
        except (SkysailError, RedisError, OSError) as error:  # why it is undone is what the caller is told
            _log.error("deployment_not_undone", model=name, version=version, error=str(error), action="trying later")

    async def forget(self, name: str, version: str) -> None:
        """Remove a version whose workers are stopped, with its artifact and topics; what is gone already may be."""
        async with self._ledger.writing() as (registry, snapshot):
            if version in snapshot.models.get(name, {}):
                await registry.delete_model(name, version)
        await asyncio.to_thread(self._artifacts.remove, name, version)
        topic = self._names.version(name, version)
        await self._topics.delete([topic, dead_letter_topic(topic)])

    async def clear_way(self, name: str, version: str) -> None:
        """Undo a deployment of this version that was left half done: by a process that was killed, or without a store.

        One that still cannot be undone is left for the next time.
        """
        if not await asyncio.to_thread(self._unfinished.has, name, version):
            return
        if (await self._ledger.snapshot()).current.get(name) == version:  # somebody has promoted it since
            await asyncio.to_thread(self._unfinished.end, name, version)
        else:
            await self._undo(name, version)

    async def undo_unfinished(self, locks: ModelLocks) -> None:
        """Undo all that was left half done; a deployment that is under way has the lock of its model."""
        for name, version in await asyncio.to_thread(self._unfinished.all):
            if not locks.of(name).locked():
                async with locks.of(name):
                    await self.clear_way(name, version)
