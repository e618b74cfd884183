"""The ledger: the registry and its mirror, written together by one writer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.exceptions import RedisError

from skysail.admin.mirror import Mirror, MirrorFile
from skysail.topics.errors import SkysailError
from skysail.topics.store.registry import Registry, RegistrySnapshot

__all__ = ["Ledger"]

_log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 1.0
_LOOK_AGAIN_S = 0.25


class Ledger:
    """Reads and writes what is registered.

    A change goes to the registry first and to the mirror next; whoever finds the two different knows by the mirror's
    `change_id` which of them is behind.

    Args:
        registry: in the store.
        mirror: on disk.
    """

    def __init__(self, registry: Registry, mirror: MirrorFile) -> None:
        self._registry = registry
        self._mirror = mirror
        self._lock = asyncio.Lock()
        #: Last change that the mirror on disk holds, as far as this process knows.
        self._saved = ""

    async def snapshot(self) -> RegistrySnapshot:
        """What is registered now. Raises UnavailableError."""
        return await self._registry.snapshot()

    async def history(self, model: str) -> list[str]:
        """Versions of a model that were current, the newest last."""
        return (await asyncio.to_thread(self._mirror.load)).history.get(model, [])

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[tuple[Registry, RegistrySnapshot]]:
        """Write: the registry to write to, and what it holds; it is mirrored when the block ends without an error.

        A registry that the store has lost is restored first, so that a change can never be all that is left.
        """
        async with self._lock:
            yield self._registry, await self._reconciled()
            await self._save(await asyncio.to_thread(self._mirror.load), await self._registry.snapshot())

    async def reconcile(self) -> RegistrySnapshot:
        """Bring registry and mirror to the same; returns what is registered then.

        Raises:
            UnavailableError: when the store is away.
            ArtifactError: when the mirror cannot be read.
        """
        async with self._lock:
            return await self._reconciled()

    async def _reconciled(self) -> RegistrySnapshot:
        snapshot = await self._registry.snapshot()
        mirror = await asyncio.to_thread(self._mirror.load)
        lost = not snapshot.whole or mirror.is_newer_than(snapshot)
        while lost and not mirror.is_empty:
            await self._restore(mirror, snapshot)
            snapshot = await self._registry.snapshot()
            lost = not snapshot.whole  # once more, at that very moment
        if snapshot.whole and mirror.change_id != snapshot.change_id:
            await self._save(mirror, snapshot)
        self._saved = snapshot.change_id
        return snapshot

    async def _restore(self, mirror: Mirror, left: RegistrySnapshot) -> None:
        """Write the mirror over what is left in the store; what was deleted before the store lost that goes again."""
        wanted = mirror.snapshot()
        for app in left.links.keys() - wanted.links.keys():
            await self._registry.delete_link(app)
        for app in left.apps.keys() - wanted.apps.keys():
            await self._registry.delete_app(app)
        for model in left.current.keys() - wanted.current.keys():
            await self._registry.clear_current(model)
        for spec in (spec for versions in left.models.values() for spec in versions.values()):
            if spec.version not in wanted.models.get(spec.name, {}):
                await self._registry.delete_model(spec.name, spec.version)
        await self._registry.restore(wanted)
        _log.warning("registry_restored", models=len(mirror.models), apps=len(mirror.apps))

    async def _save(self, known: Mirror, snapshot: RegistrySnapshot) -> None:
        await asyncio.to_thread(self._mirror.save, known.updated(snapshot))
        self._saved = snapshot.change_id

    async def keep(self) -> None:
        """For ever: give the registry back to a store that has lost it, or its last changes.

        Looks each second, and does not follow the change stream: a store that is restarted quickly is not missed by a
        client that reconnects by itself, and one that has lost its last changes has none to tell of.
        """
        away = False
        while True:
            try:
                snapshot = await self._registry.snapshot()
                if not snapshot.whole or snapshot.change_id != self._saved:
                    await self.reconcile()
                if away:
                    _log.info("store_is_back")
                away = False
            except (SkysailError, RedisError) as error:
                if not away:
                    _log.warning("registry_not_read", error=str(error), action="trying again")
                away = True
            await asyncio.sleep(_LOOK_AGAIN_S if away else _LOOK_EVERY_S)
