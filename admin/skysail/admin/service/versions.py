"""Operations on versions of models: upload, register, deploy, promote, roll back, scale, delete."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterable, Callable

import msgspec
import structlog

from skysail.admin.artifact_store import ArtifactStore
from skysail.admin.managers import Manager
from skysail.admin.service.ledger import Ledger
from skysail.admin.service.readiness import Readiness
from skysail.admin.service.rules import (
    check_artifact,
    check_deletable,
    check_new,
    check_promotable,
    check_scalable,
    find_model,
    version_before,
)
from skysail.admin.service.wanted import has_artifact, version_topics
from skysail.topics.artifacts import Manifest
from skysail.topics.errors import ArtifactError, SkysailError
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import TopicNames, dead_letter_topic
from skysail.topics.specs import ModelSpec

__all__ = ["Versions"]

_log = structlog.get_logger(__name__)


class Versions:
    """One operation at a time on each model. Every method raises UnavailableError when store or broker is away.

    Args:
        ledger, topics, artifacts, manager, readiness: what is operated on.
        names: topic names of the namespace.
        deploy_timeout_s: how long a version may take to become ready.
        now_ms: unix ms.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        topics: TopicAdmin,
        artifacts: ArtifactStore,
        manager: Manager,
        readiness: Readiness,
        names: TopicNames,
        deploy_timeout_s: float,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ledger = ledger
        self._topics = topics
        self._artifacts = artifacts
        self._manager = manager
        self._readiness = readiness
        self._names = names
        self._deploy_timeout_s = deploy_timeout_s
        self._now_ms = now_ms
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def _find(self, name: str, version: str) -> ModelSpec:
        return find_model(await self._ledger.snapshot(), name, version)

    # ------------------------------------------------------------------------------------------------ new versions

    async def upload(self, name: str, version: str, chunks: AsyncIterable[bytes]) -> Manifest:
        """Store an artifact (a zip) for a version that is to be deployed; one that never was deployed is replaced.

        Raises:
            ConflictError: when the version is registered; versions are immutable.
            ArtifactError, SignatureError, PayloadTooLargeError: when it is not a sound artifact of that version.
        """
        check_new(await self._ledger.snapshot(), name, version)
        async with self._artifacts.incoming(name, version, chunks) as incoming, self._locks[name]:
            check_new(await self._ledger.snapshot(), name, version)
            await asyncio.to_thread(incoming.put_in_place)
            return incoming.manifest

    async def register(self, spec: ModelSpec, *, current: bool) -> None:
        """Register a version without waiting for workers, as Clipper does; `current` makes it so at once.

        Without an artifact its workers are yours to run.
        """
        async with self._locks[spec.name]:
            spec = await self._with_artifact(spec)
            await self._register(spec)
            await self._run(spec)
            if current:
                await self._make_current(spec)

    async def deploy(self, spec: ModelSpec, *, promote: bool, timeout_s: float | None = None) -> ModelSpec:
        """Register a version whose artifact is stored, start its workers, wait until they are ready, promote.

        When it does not become ready, everything is undone and the version that was current goes on.

        Raises:
            DeployError: with the worker's own traceback where it got so far.
            ArtifactError, SignatureError, ConflictError, BadInputError: before anything is started.
        """
        if promote:
            check_promotable(spec)
        async with self._locks[spec.name]:
            check_new(await self._ledger.snapshot(), spec.name, spec.version)
            spec = await self._with_artifact(spec)
            if not has_artifact(spec):
                message = f"there is no artifact of {spec.key} to deploy: upload it first"
                raise ArtifactError(message)
            try:
                await self._register(spec)
                await self._run(spec)
                await self._ready(spec, spec.replicas, timeout_s)
            except BaseException:  # also a request or process that ends: no half of a version stays behind
                await self._undo(spec)
                raise
            if promote:
                await self._make_current(spec)
            return spec

    async def _with_artifact(self, spec: ModelSpec) -> ModelSpec:
        """The specification with what the stored artifact says of itself; it is verified."""
        if not self._artifacts.has(spec.name, spec.version):
            return msgspec.structs.replace(spec, framework="", artifact_digest="")
        manifest = await asyncio.to_thread(self._artifacts.manifest, spec.name, spec.version)
        check_artifact(spec, manifest)
        return msgspec.structs.replace(spec, framework=manifest.framework, artifact_digest=manifest.digest)

    async def _register(self, spec: ModelSpec) -> None:
        async with self._ledger.writing() as (registry, snapshot):
            check_new(snapshot, spec.name, spec.version, spec.input_type)
            await self._topics.create(version_topics(self._names, spec))
            await registry.create_model(msgspec.structs.replace(spec, created_ms=self._now_ms()))
        _log.info("registered", model=spec.name, version=spec.version)

    async def _undo(self, spec: ModelSpec) -> None:
        _log.warning("deployment_undone", model=spec.name, version=spec.version)
        try:
            await self._manager.scale(spec.name, spec.version, 0)
            await self._forget(spec.name, spec.version)
        except SkysailError as error:  # the reason for the undoing is what the caller is told
            _log.error("deployment_not_undone", model=spec.name, version=spec.version, error=str(error))

    async def _forget(self, name: str, version: str) -> None:
        async with self._ledger.writing() as (registry, snapshot):
            if version in snapshot.models.get(name, {}):
                await registry.delete_model(name, version)
        await asyncio.to_thread(self._artifacts.remove, name, version)
        topic = self._names.version(name, version)
        await self._topics.delete([topic, dead_letter_topic(topic)])

    # ------------------------------------------------------------------------------------------------ the pointer

    async def promote(
        self, name: str, version: str, *, replicas: int | None = None, timeout_s: float | None = None
    ) -> None:
        """Make a version current, once a worker of it is ready; one without workers gets them first.

        Args:
            name: of the model.
            version: what becomes current.
            replicas: workers to run; it becomes current when all are ready. By default as many as registered, and one
                is enough.
            timeout_s: how long that may take.

        Raises:
            NotFoundError: when there is no such version.
            DeployError: when no worker becomes ready; the version that was current stays so.
        """
        async with self._locks[name]:
            spec = await self._find(name, version)
            if replicas is not None or not spec.replicas:
                spec = await self._set_replicas(spec, replicas or 1)
            elif not await self._readiness.is_ready(spec):
                await self._run(spec)
            await self._ready(spec, replicas or 1, timeout_s)
            await self._make_current(spec)

    async def point(self, name: str, version: str) -> None:
        """Clipper's way to make a version current: one whose workers are yours to run at once, ready or not.

        Raises:
            NotFoundError, DeployError: as `promote`, for a version with an artifact.
        """
        spec = await self._find(name, version)
        if has_artifact(spec):
            await self.promote(name, version)
        else:
            async with self._locks[name]:
                await self._make_current(await self._find(name, version))

    async def rollback(self, name: str, timeout_s: float | None = None) -> str:
        """Make the version current that was current before; returns it.

        Raises:
            NotFoundError: when there is no such model.
            ConflictError: when no earlier version is left.
            DeployError: when it does not become ready; the version that is current stays so.
        """
        version = version_before(await self._ledger.snapshot(), name, await self._ledger.history(name))
        await self.promote(name, version, timeout_s=timeout_s)
        return version

    async def _ready(self, spec: ModelSpec, replicas: int, timeout_s: float | None) -> None:
        limit_s = self._deploy_timeout_s if timeout_s is None else timeout_s
        await self._readiness.wait(spec, replicas=replicas, timeout_s=limit_s)

    async def _make_current(self, spec: ModelSpec) -> None:
        async with self._ledger.writing() as (registry, _):
            await registry.set_current(spec.name, spec.version)
        _log.info("promoted", model=spec.name, version=spec.version)

    # ------------------------------------------------------------------------------------------------ workers

    async def scale(self, name: str, version: str | None, replicas: int) -> ModelSpec:
        """Run so many workers of a version (the current one by default).

        Raises:
            NoModelError, NotFoundError: when there is no such version, or no current one.
            ConflictError: when its workers are yours to run.
        """
        async with self._locks[name]:
            snapshot = await self._ledger.snapshot()
            spec = snapshot.model(name) if version is None else find_model(snapshot, name, version)
            check_scalable(spec, replicas)
            return await self._set_replicas(spec, replicas)

    async def _set_replicas(self, spec: ModelSpec, replicas: int) -> ModelSpec:
        scaled = msgspec.structs.replace(spec, replicas=replicas)
        if scaled != spec:
            async with self._ledger.writing() as (registry, _):
                await registry.replace_model(scaled)
        await self._run(scaled)
        return scaled

    async def _run(self, spec: ModelSpec) -> None:
        if has_artifact(spec):
            await self._manager.scale(spec.name, spec.version, spec.replicas)

    async def keep_running(self, name: str, version: str) -> None:
        """Run the workers that the registry asks for; after a start of the admin process."""
        async with self._locks[name]:
            spec = (await self._ledger.snapshot()).models.get(name, {}).get(version)
            if spec is not None:
                await self._run(spec)

    async def settle(self, timeout_s: float) -> None:
        """Wait until no operation is under way; before the end of the process."""
        try:
            async with asyncio.timeout(timeout_s):
                for lock in list(self._locks.values()):
                    async with lock:
                        pass
        except TimeoutError:
            _log.warning("operations_not_settled", timeout_s=timeout_s)

    async def delete(self, name: str, version: str, *, even_current: bool = False) -> None:
        """Drain a version's workers and remove it with its topics and artifact.

        Raises:
            NotFoundError: when it does not exist.
            ConflictError: when it is current and not the only one, unless `even_current`.
        """
        async with self._locks[name]:
            snapshot = await self._ledger.snapshot()
            check_deletable(snapshot, name, version, even_current=even_current)
            if snapshot.current.get(name) == version:
                async with self._ledger.writing() as (registry, _):
                    await registry.clear_current(name)
            await self._manager.scale(name, version, 0)
            await self._forget(name, version)
        _log.info("deleted", model=name, version=version)
