"""Puts the admin process together from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from skysail.admin.api.app import admin_application
from skysail.admin.artifact_store import ArtifactStore
from skysail.admin.ending import end_tasks
from skysail.admin.managers import Manager
from skysail.admin.managers.external import ExternalManager
from skysail.admin.managers.local import LocalManager
from skysail.admin.mirror import MirrorFile
from skysail.admin.service import AdminService
from skysail.admin.service.applications import Applications
from skysail.admin.service.dead_letters import DeadLetters
from skysail.admin.service.ledger import Ledger
from skysail.admin.service.locks import ModelLocks
from skysail.admin.service.readiness import Readiness
from skysail.admin.service.registration import Registration
from skysail.admin.service.startup import Startup
from skysail.admin.service.unfinished import Unfinished
from skysail.admin.service.versions import Versions
from skysail.topics.kafka.letters import TopicReader
from skysail.topics.kafka.publisher import Publisher
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
#: What is under way at the end of the process may take so long to undo itself.
_SETTLE_S = 10.0


def build_admin(settings: Settings) -> FastAPI:
    """The admin application; nothing is connected before its lifespan starts."""
    keys, names = KeyNames(settings.namespace), TopicNames(settings.namespace)
    store = async_store(settings.redis.url, socket_timeout=_STORE_TIMEOUT_S)
    workers = WorkerDirectory(store, keys)
    artifacts = ArtifactStore(settings.artifacts.path, settings.artifacts.key())
    kafka = settings.kafka.librdkafka()
    topics = TopicAdmin(kafka, settings.kafka.replication_factor)
    manager = _manager(settings)
    ledger = Ledger(Registry(store, keys), MirrorFile(settings.artifacts.path, settings.namespace))
    registration = Registration(
        ledger=ledger,
        topics=topics,
        artifacts=artifacts,
        manager=manager,
        unfinished=Unfinished(settings.artifacts.path, settings.namespace),
        names=names,
    )
    versions = Versions(
        ledger=ledger,
        artifacts=artifacts,
        registration=registration,
        manager=manager,
        readiness=Readiness(workers, manager, settings.admin.deploy_timeout_s),
        locks=ModelLocks(),
    )
    service = AdminService(
        apps=Applications(ledger, topics, names),
        versions=versions,
        ledger=ledger,
        workers=workers,
        manager=manager,
        startup=Startup(ledger, versions, topics, names),
        dead_letters=DeadLetters(
            ledger=ledger, reader=TopicReader(kafka), publisher=Publisher(kafka), store=store, names=names, keys=keys
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(artifacts.prepare)
        tasks = [
            asyncio.create_task(ledger.keep(), name="registry keeper"),
            asyncio.create_task(service.startup.run(), name="startup"),
        ]
        for task in tasks:
            task.add_done_callback(_note_end)
        yield
        # 1. No worker is started, and no registry restored, any more.
        await end_tasks(tasks)
        # 2. A deployment that was cut off undoes itself while its workers can still be stopped one by one.
        await versions.settle(_SETTLE_S)
        # 3. Workers answer what they hold, commit and leave their group; then there is nothing left to keep.
        await manager.close()
        await asyncio.to_thread(service.dead_letters.close)
        await store.aclose()

    return admin_application(service, lifespan)


def _note_end(task: asyncio.Task[None]) -> None:
    """These tasks end with the process only; one that fails must not fail in silence."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("task_failed", task=task.get_name(), exc_info=task.exception())


def _manager(settings: Settings) -> Manager:
    if settings.admin.manager == "external":
        return ExternalManager()
    return LocalManager(settings.admin.logs, settings.artifacts.path.parent / "workers")
