"""`AdminService`: every operation on what is deployed, on the registry, the broker, the artifacts and the workers."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

import msgspec
import structlog

from skysail.admin.artifact_store import ArtifactStore, Mirror
from skysail.admin.managers import Manager
from skysail.admin.service.readiness import Readiness
from skysail.admin.service.rules import check_deletable, check_link, check_model, find_app, find_model
from skysail.topics.errors import ConflictError, NotFoundError, SkysailError, UnavailableError
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import TopicNames, dead_letter_topic
from skysail.topics.specs import ApplicationSpec, ModelSpec
from skysail.topics.store.registry import Registry, RegistrySnapshot

__all__ = ["AdminService"]

_log = structlog.get_logger(__name__)
_HISTORY = 50
_RETRY_S = 0.25


class AdminService:
    """The one writer of a namespace's registry.

    Args:
        registry, topics, artifacts, manager, readiness: what is operated on.
        names: topic names of the namespace.
        deploy_timeout_s: how long a version may take to become ready.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        topics: TopicAdmin,
        artifacts: ArtifactStore,
        manager: Manager,
        readiness: Readiness,
        names: TopicNames,
        deploy_timeout_s: float,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.registry = registry
        self.artifacts = artifacts
        self.manager = manager
        self._topics = topics
        self._readiness = readiness
        self._names = names
        self._deploy_timeout_s = deploy_timeout_s
        self._now_ms = now_ms
        self._model_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._write_lock = asyncio.Lock()

    # ------------------------------------------------------------------------------------------------ applications

    async def add_app(self, spec: ApplicationSpec) -> None:
        """Register an application and make its feedback topic. Raises ConflictError when the name is taken."""
        async with self._write_lock:
            await self._topics.create({self._names.feedback(spec.name): 1})
            await self.registry.create_app(spec)
            await self._save_mirror()

    async def delete_app(self, name: str) -> None:
        """Remove an application and its link; its feedback topic stays, with what was said. Raises NotFoundError."""
        async with self._write_lock:
            await self.registry.delete_app(name)
            await self._save_mirror()

    async def link(self, app: str, models: list[str]) -> None:
        """Join an application to a model. Raises as `check_link`."""
        async with self._write_lock:
            await self.registry.put_link(check_link(await self.registry.snapshot(), app, models))
            await self._save_mirror()

    async def unlink(self, app: str, models: list[str] | None = None) -> None:
        """Part an application from its model. Raises NotFoundError when it is not linked to the models named."""
        async with self._write_lock:
            snapshot = await self.registry.snapshot()
            find_app(snapshot, app)
            linked = snapshot.links.get(app)
            missing = set(models or ()) - set(linked.models if linked else ())
            if linked is None or missing:
                message = f"application {app!r} is not linked to {', '.join(sorted(missing)) or 'a model'}"
                raise NotFoundError(message)
            await self.registry.delete_link(app)
            await self._save_mirror()

    # ------------------------------------------------------------------------------------------------ versions

    async def register_model(self, spec: ModelSpec, *, current: bool) -> None:
        """Register a version without waiting for workers, as Clipper does; `current` makes it so at once."""
        async with self._model_locks[spec.name]:
            await self._register(spec)
            if current:
                await self._make_current(spec.name, spec.version)
            if self.artifacts.has(spec.name, spec.version):
                await self.manager.scale(spec.name, spec.version, spec.replicas)

    async def deploy(self, spec: ModelSpec, *, promote: bool, timeout_s: float | None = None) -> None:
        """Register a version whose artifact is stored, start its workers, wait until they are ready, promote.

        When it does not become ready, everything is undone and the version that was current goes on.

        Raises:
            DeployError: with the worker's own traceback where it got so far.
            ArtifactError, SignatureError, ConflictError, BadInputError: before anything is started.
        """
        async with self._model_locks[spec.name]:
            manifest = await asyncio.to_thread(self.artifacts.manifest, spec.name, spec.version)
            spec = msgspec.structs.replace(spec, framework=manifest.framework, artifact_digest=manifest.digest)
            await self._register(spec)
            try:
                await self.manager.scale(spec.name, spec.version, spec.replicas)
                await self._ready(spec, timeout_s)
            except (SkysailError, asyncio.CancelledError):
                await self._undo(spec)
                raise
            if promote:
                await self._make_current(spec.name, spec.version)

    async def _register(self, spec: ModelSpec) -> None:
        async with self._write_lock:
            check_model(await self.registry.snapshot(), spec)
            await self._topics.create(self._version_topics(spec))
            await self.registry.create_model(msgspec.structs.replace(spec, created_ms=self._now_ms()))
            await self._save_mirror()
        _log.info("registered", model=spec.name, version=spec.version)

    def _version_topics(self, spec: ModelSpec) -> dict[str, int]:
        own, shared = self._names.version(spec.name, spec.version), self._names.model(spec.name)
        counts = {shared: spec.partitions, own: spec.partitions}
        return {**counts, **{dead_letter_topic(topic): 1 for topic in counts}}

    async def _ready(self, spec: ModelSpec, timeout_s: float | None) -> None:
        limit_s = self._deploy_timeout_s if timeout_s is None else timeout_s
        await self._readiness.wait(spec, replicas=max(1, spec.replicas), timeout_s=limit_s)

    async def _undo(self, spec: ModelSpec) -> None:
        _log.warning("deployment_undone", model=spec.name, version=spec.version)
        await self.manager.scale(spec.name, spec.version, 0)
        await self._forget(spec.name, spec.version)

    async def _forget(self, name: str, version: str) -> None:
        async with self._write_lock:
            await self.registry.delete_model(name, version)
            await self._save_mirror()
        topic = self._names.version(name, version)
        await self._topics.delete([topic, dead_letter_topic(topic)])
        await asyncio.to_thread(self.artifacts.remove, name, version)

    async def promote(self, name: str, version: str, replicas: int | None = None) -> None:
        """Make a version current, once a worker of it is ready; one without workers gets them first.

        Raises:
            NotFoundError: when there is no such version.
            DeployError: when its workers do not become ready; the version that was current stays so.
        """
        async with self._model_locks[name]:
            spec = find_model(await self.registry.snapshot(), name, version)
            wanted = replicas if replicas is not None else max(1, spec.replicas)
            if wanted != spec.replicas:
                spec = await self._set_replicas(spec, wanted)
            elif not await self._readiness.is_ready(spec):
                await self.manager.scale(name, version, wanted)
            await self._ready(spec, None)
            await self._make_current(name, version)

    async def point(self, name: str, version: str) -> None:
        """Make a version current without looking whether it is ready: Clipper's `set_model_version`. NotFoundError."""
        async with self._model_locks[name]:
            find_model(await self.registry.snapshot(), name, version)
            await self._make_current(name, version)

    async def rollback(self, name: str) -> str:
        """Make the version current that was current before; returns it.

        Raises:
            NotFoundError: when there is no such model.
            ConflictError: when no earlier version is left.
        """
        snapshot = await self.registry.snapshot()
        if name not in snapshot.models:
            message = f"no model is named {name!r}"
            raise NotFoundError(message)
        mirror = await asyncio.to_thread(self.artifacts.load_mirror)
        now = snapshot.current.get(name)
        earlier = [version for version in mirror.history.get(name, ()) if version in snapshot.models[name]]
        candidates = [version for version in earlier if version != now]
        if not candidates:
            message = f"model {name!r} has no earlier version to go back to"
            raise ConflictError(message)
        await self.promote(name, candidates[-1])
        return candidates[-1]

    async def _make_current(self, name: str, version: str) -> None:
        async with self._write_lock:
            await self.registry.set_current(name, version)
            await self._save_mirror(promoted=(name, version))
        _log.info("promoted", model=name, version=version)

    async def scale(self, name: str, version: str | None, replicas: int) -> ModelSpec:
        """Run so many workers of a version (the current one by default)."""
        async with self._model_locks[name]:
            return await self._set_replicas((await self.registry.snapshot()).model(name, version), replicas)

    async def _set_replicas(self, spec: ModelSpec, replicas: int) -> ModelSpec:
        scaled = msgspec.structs.replace(spec, replicas=replicas)
        await self.manager.scale(spec.name, spec.version, replicas)
        async with self._write_lock:
            await self.registry.replace_model(scaled)
            await self._save_mirror()
        return scaled

    async def delete_version(self, name: str, version: str) -> None:
        """Drain a version's workers and remove it with its topics and artifact.

        Raises:
            NotFoundError: when it does not exist.
            ConflictError: when it is current and not the only one.
        """
        async with self._model_locks[name]:
            check_deletable(snapshot := await self.registry.snapshot(), name, version)
            await self.manager.scale(name, version, 0)
            if snapshot.current.get(name) == version:
                await self.registry.clear_current(name)
            await self._forget(name, version)

    # ------------------------------------------------------------------------------------------------ the mirror

    async def _save_mirror(self, promoted: tuple[str, str] | None = None) -> None:
        snapshot = await self.registry.snapshot()
        known = await asyncio.to_thread(self.artifacts.load_mirror)
        mirror = Mirror(
            apps=tuple(snapshot.apps.values()),
            models=tuple(spec for versions in snapshot.models.values() for spec in versions.values()),
            links=tuple(snapshot.links.values()),
            current=snapshot.current,
            history=_history(known.history, snapshot, promoted),
        )
        await asyncio.to_thread(self.artifacts.save_mirror, mirror)

    async def keep_registry(self) -> None:
        """For ever: give the registry back to a store that has lost it."""
        while True:
            try:
                async for snapshot in self.registry.follow():
                    if not snapshot.whole:
                        await self.restore()
            except UnavailableError as error:
                _log.warning("store_away", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def restore(self) -> bool:
        """Write the registry from its mirror if the store has none; whether that was done."""
        async with self._write_lock:
            if (await self.registry.snapshot()).whole:
                return False
            mirror = await asyncio.to_thread(self.artifacts.load_mirror)
            if not mirror.models and not mirror.apps:
                return False
            await self.registry.restore(mirror.snapshot())
        _log.warning("registry_restored", models=len(mirror.models), apps=len(mirror.apps))
        return True

    async def start_workers(self) -> None:
        """Run the workers that the registry asks for; after a start of the admin process."""
        snapshot = await self.registry.snapshot()
        for versions in snapshot.models.values():
            for spec in versions.values():
                if spec.replicas and self.artifacts.has(spec.name, spec.version):
                    await self.manager.scale(spec.name, spec.version, spec.replicas)


def _history(
    known: dict[str, list[str]], snapshot: RegistrySnapshot, promoted: tuple[str, str] | None
) -> dict[str, list[str]]:
    """Versions that were current, the newest last and each once."""
    history = {name: versions for name, versions in known.items() if name in snapshot.models}
    if promoted is not None:
        name, version = promoted
        earlier = [one for one in history.get(name, ()) if one != version]
        history[name] = [*earlier, version][-_HISTORY:]
    return history
