"""`/api/v1/workers`, logs and status: what runs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from skysail.admin.api.bodies import answer_json
from skysail.admin.service import AdminService
from skysail.admin.service.rules import find_model
from skysail.topics import __version__
from skysail.topics.specs import WorkerState

__all__ = ["add_workers"]


def add_workers(router: APIRouter, service: AdminService) -> None:
    """Looking at what runs."""

    @router.get("/workers", tags=["operations"])
    async def alive() -> Response:
        """Heartbeats of all workers that are alive."""
        return answer_json(await service.workers.alive())

    @router.get("/replicas", tags=["operations"])
    async def replicas() -> Response:
        """Workers that this process keeps running: process, restarts, last exit."""
        return answer_json(service.manager.replicas())

    @router.get("/models/{model}/versions/{version}/logs", tags=["operations"])
    async def logs(model: str, version: str, lines: Annotated[int, Query(ge=1, le=100_000)] = 100) -> Response:
        """The end of each worker's log."""
        find_model(await service.ledger.snapshot(), model, version)
        return answer_json(await asyncio.to_thread(service.manager.logs, model, version, lines))

    @router.get("/status", tags=["operations"])
    async def status() -> Response:
        """Whether all is up, and for each version how many workers are wanted and how many are ready."""
        return answer_json(await _status(service))


async def _status(service: AdminService) -> dict[str, Any]:
    snapshot = await service.ledger.snapshot()
    ready = [(beat.model, beat.version) for beat in await service.workers.alive() if beat.state is WorkerState.READY]
    return {
        "version": __version__,
        "ready": service.startup.problem is None,
        "problem": service.startup.problem,
        "starts_workers": service.manager.starts_workers,
        "apps": len(snapshot.apps),
        "models": [
            {
                "name": spec.name,
                "version": spec.version,
                "is_current": snapshot.current.get(spec.name) == spec.version,
                "replicas": spec.replicas,
                "ready": ready.count((spec.name, spec.version)),
            }
            for _, versions in sorted(snapshot.models.items())
            for spec in versions.values()
        ],
    }
