"""Operations on applications and their links."""

from __future__ import annotations

import structlog

from skysail.admin.service.ledger import Ledger
from skysail.admin.service.rules import check_link, check_linked
from skysail.admin.service.wanted import app_topics
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.names import TopicNames
from skysail.topics.specs import ApplicationSpec

__all__ = ["Applications"]

_log = structlog.get_logger(__name__)


class Applications:
    """Every method raises UnavailableError when the store or, for `add`, the broker is away."""

    def __init__(self, ledger: Ledger, topics: TopicAdmin, names: TopicNames) -> None:
        self._ledger = ledger
        self._topics = topics
        self._names = names

    async def add(self, spec: ApplicationSpec) -> None:
        """Register an application and make its feedback topic. Raises ConflictError when the name is taken."""
        async with self._ledger.writing() as (registry, _):
            await self._topics.create(app_topics(self._names, spec))
            await registry.create_app(spec)
        _log.info("application_added", app=spec.name)

    async def delete(self, name: str) -> None:
        """Remove an application and its link; its feedback topic stays, with what was said. Raises NotFoundError."""
        async with self._ledger.writing() as (registry, _):
            await registry.delete_app(name)
        _log.info("application_deleted", app=name)

    async def link(self, app: str, models: list[str]) -> None:
        """Join an application to a model.

        Raises:
            NotFoundError, BadInputError, ConflictError: see `check_link`.
        """
        async with self._ledger.writing() as (registry, snapshot):
            await registry.put_link(check_link(snapshot, app, models))
        _log.info("linked", app=app, models=models)

    async def unlink(self, app: str, models: list[str] | None = None) -> None:
        """Part an application from its model.

        Raises:
            NotFoundError: when there is no such application, or it is not linked to all the models named.
        """
        async with self._ledger.writing() as (registry, snapshot):
            check_linked(snapshot, app, models)
            await registry.delete_link(app)
        _log.info("unlinked", app=app)
