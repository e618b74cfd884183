"""Operations on versions of models: upload, register, deploy, promote, roll back, scale, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog
from redis.exceptions import RedisError

from skysail.admin.artifact_store import ArtifactStore
from skysail.admin.managers import Manager
from skysail.admin.service.ledger import Ledger
from skysail.admin.service.locks import ModelLocks
from skysail.admin.service.readiness import Readiness
from skysail.admin.service.registration import Registration
from skysail.admin.service.rules import (
    check_deletable,
    check_new,
    check_promotable,
    check_scalable,
    find_model,
    version_before,
)
from skysail.admin.service.wanted import has_artifact
from skysail.topics.artifacts import Manifest
from skysail.topics.errors import ArtifactError, SkysailError
from skysail.topics.specs import ModelSpec

__all__ = ["Versions"]

_log = structlog.get_logger(__name__)


class Versions:
    """One operation at a time on each model. Every method raises UnavailableError when store or broker is away.

    Args:
        ledger, artifacts, registration, manager, readiness: what is operated on.
        locks: of the models.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        artifacts: ArtifactStore,
        registration: Registration,
        manager: Manager,
        readiness: Readiness,
        locks: ModelLocks,
    ) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._registration = registration
        self._manager = manager
        self._readiness = readiness
        self._locks = locks

    async def _find(self, name: str, version: str) -> ModelSpec:
        return find_model(await self._ledger.snapshot(), name, version)

    # ------------------------------------------------------------------------------------------------ new versions

    async def upload(self, name: str, version: str, chunks: AsyncIterable[bytes]) -> Manifest:
        """Store an artifact (a zip) for a version that is to be deployed; one that never was deployed is replaced.

        Raises:
            ConflictError: when the version is registered; versions are immutable.
            ArtifactError, SignatureError, PayloadTooLargeError: when it is not a sound artifact of that version.
        """
        if not self._locks.of(name).locked():
            async with self._locks.of(name):
                await self._registration.clear_way(name, version)
        check_new(await self._ledger.snapshot(), name, version)
        async with self._artifacts.incoming(name, version, chunks) as incoming, self._locks.of(name):
            check_new(await self._ledger.snapshot(), name, version)
            await asyncio.to_thread(incoming.put_in_place)
            return incoming.manifest

    async def register(self, spec: ModelSpec, *, current: bool) -> None:
        """Register a version without waiting for workers, as Clipper does; `current` makes it so at once.

        Without an artifact its workers are yours to run.
        """
        async with self._locks.of(spec.name):
            await self._registration.clear_way(spec.name, spec.version)
            spec = await self._registration.with_artifact(spec)
            await self._registration.register(spec)
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
        async with self._locks.of(spec.name):
            await self._registration.clear_way(spec.name, spec.version)
            check_new(await self._ledger.snapshot(), spec.name, spec.version)
            spec = await self._registration.with_artifact(spec)
            if not has_artifact(spec):
                message = f"there is no artifact of {spec.key} to deploy: upload it first"
                raise ArtifactError(message)
            async with self._registration.whole_or_not_at_all(spec):
                await self._registration.register(spec)
                await self._run(spec)
                await self._readiness.wait(spec, replicas=spec.replicas, timeout_s=timeout_s)
            if promote:
                await self._make_current(spec)
            return spec

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
        async with self._locks.of(name):
            spec = await self._find(name, version)
            needed = replicas or 1
            async with self._replicas_for(spec, replicas or spec.replicas or 1, needed):
                await self._readiness.wait(spec, replicas=needed, timeout_s=timeout_s)
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
            async with self._locks.of(name):
                await self._make_current(await self._find(name, version))

    @asynccontextmanager
    async def _replicas_for(self, spec: ModelSpec, replicas: int, needed: int) -> AsyncIterator[None]:
        """Run so many workers from here on, but as many as before when the block fails."""
        try:
            if replicas != spec.replicas:
                await self._set_replicas(spec, replicas)
            elif not await self._readiness.is_ready(spec, needed):
                await self._run(spec)
            yield
        except BaseException:  # also a request or process that ends
            if replicas != spec.replicas:
                await self._back_to(spec)
            raise

    async def _back_to(self, spec: ModelSpec) -> None:
        try:
            await self._write_and_run(spec)
        except (SkysailError, RedisError) as error:  # why the promotion failed is what the caller is told
            _log.error("replicas_not_set_back", model=spec.name, version=spec.version, error=str(error))

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
        async with self._locks.of(name):
            snapshot = await self._ledger.snapshot()
            spec = snapshot.model(name) if version is None else find_model(snapshot, name, version)
            check_scalable(spec, replicas)
            return await self._set_replicas(spec, replicas)

    async def _set_replicas(self, spec: ModelSpec, replicas: int) -> ModelSpec:
        scaled = msgspec.structs.replace(spec, replicas=replicas)
        if scaled == spec:
            await self._run(spec)
        else:
            await self._write_and_run(scaled)
        return scaled

    async def _write_and_run(self, spec: ModelSpec) -> None:
        async with self._ledger.writing() as (registry, _):
            await registry.replace_model(spec)
        await self._run(spec)

    async def _run(self, spec: ModelSpec) -> None:
        if has_artifact(spec):
            await self._manager.scale(spec.name, spec.version, spec.replicas)

    async def keep_running(self, name: str, version: str) -> None:
        """Run the workers that the registry asks for; after a start of the admin process."""
        async with self._locks.of(name):
            spec = (await self._ledger.snapshot()).models.get(name, {}).get(version)
            if spec is not None:
                await self._run(spec)

    async def undo_unfinished(self) -> None:
        """Undo what was left half done, by a process before this one or while the store was away."""
        await self._registration.undo_unfinished(self._locks)

    async def settle(self, timeout_s: float) -> None:
        """Wait until no operation is under way; before the end of the process."""
        await self._locks.settle(timeout_s)

    async def delete(self, name: str, version: str, *, even_current: bool = False) -> None:
        """Drain a version's workers and remove it with its topics and artifact.

        Raises:
            NotFoundError: when it does not exist.
            ConflictError: when it is current and not the only one, unless `even_current`.
        """
        async with self._locks.of(name):
            snapshot = await self._ledger.snapshot()
            check_deletable(snapshot, name, version, even_current=even_current)
            if snapshot.current.get(name) == version:
                async with self._ledger.writing() as (registry, _):
                    await registry.clear_current(name)
            await self._manager.scale(name, version, 0)
            await self._registration.forget(name, version)
        _log.info("deleted", model=name, version=version)
