"""`AdminService`: everything that the APIs operate on."""

from __future__ import annotations

from dataclasses import dataclass

from skysail.admin.managers import Manager
from skysail.admin.service.applications import Applications
from skysail.admin.service.dead_letters import DeadLetters
from skysail.admin.service.ledger import Ledger
from skysail.admin.service.startup import Startup
from skysail.admin.service.versions import Versions
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["AdminService"]


@dataclass(frozen=True)
class AdminService:
    """The one writer of a namespace's registry.

    Attributes:
        apps, versions: the operations.
        ledger: what is registered.
        workers: who is alive.
        manager: who starts workers.
        startup: whether all is up.
        dead_letters: what could neither be read nor computed.
    """

    apps: Applications
    versions: Versions
    ledger: Ledger
    workers: WorkerDirectory
    manager: Manager
    startup: Startup
    dead_letters: DeadLetters
