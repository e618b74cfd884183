"""Puts the admin process together from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from skysail.admin.api.app import admin_application
from skysail.admin.artifact_store import ArtifactStore
from skysail.admin.managers import Manager
from skysail.admin.managers.external import ExternalManager
from skysail.admin.managers.local import LocalManager
from skysail.admin.service import AdminService
from skysail.admin.service.readiness import Readiness
from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.settings import Settings
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["build_admin"]

_log = structlog.get_logger(__name__)
#: Longer than a blocking read of the change stream.
_STORE_TIMEOUT_S = 10.0
_RETRY_S = 0.5


def build_admin(settings: Settings) -> FastAPI:
    """The admin application; nothing is connected before its lifespan starts."""
    keys = KeyNames(settings.namespace)
    store = async_store(settings.redis.url, socket_timeout=_STORE_TIMEOUT_S)
    workers = WorkerDirectory(store, keys)
    manager = _manager(settings)
    service = AdminService(
        registry=Registry(store, keys),
        topics=TopicAdmin(settings.kafka.librdkafka(), settings.kafka.replication_factor),
        artifacts=ArtifactStore(settings.artifacts.path, settings.artifacts.key()),
        manager=manager,
        readiness=Readiness(workers, manager),
        names=TopicNames(settings.namespace),
        deploy_timeout_s=settings.admin.deploy_timeout_s,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        settings.artifacts.path.mkdir(parents=True, exist_ok=True)
        await _wait_for_store(service)
        keeper = asyncio.create_task(service.keep_registry(), name="registry keeper")
        await service.start_workers()
        yield
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await manager.close()
        await store.aclose()

    return admin_application(service, workers, lifespan)


async def _wait_for_store(service: AdminService) -> None:
    waiting = False
    while True:
        try:
            await service.restore()
        except UnavailableError as error:
            if not waiting:
                _log.warning("waiting_for_store", error=str(error))
            waiting = True
            await asyncio.sleep(_RETRY_S)
        else:
            return


def _manager(settings: Settings) -> Manager:
    if settings.admin.manager == "external":
        return ExternalManager()
    return LocalManager(settings.admin.logs, settings.artifacts.path.parent / "workers")
