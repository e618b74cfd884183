"""Health and metrics of the admin process."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest

from skysail.admin.service import AdminService
from skysail.topics.errors import UnavailableError

__all__ = ["operations_router"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def operations_router(service: AdminService) -> APIRouter:
    """`/livez`, `/readyz`, `/metrics`."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez")
    def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @router.get("/readyz")
    async def ready() -> dict[str, bool]:
        """Whether store and broker answer and the workers have been started; 503 says why not."""
        if service.startup.problem is not None:
            raise UnavailableError(service.startup.problem)
        await service.ledger.snapshot()
        return {"ready": True}

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics of this process, and of the workers that it knows."""
        return Response(generate_latest(REGISTRY) + generate_latest(await _deployed(service)), media_type=_TEXT)

    return router


async def _deployed(service: AdminService) -> CollectorRegistry:
    """Gauges of this moment, made anew: a version that is gone leaves no series behind."""
    registry = CollectorRegistry()
    labels = ("model", "version")
    wanted = Gauge("skysail_replicas_wanted", "Workers that should run", labels, registry=registry)
    current = Gauge("skysail_version_current", "1 for the version that answers", labels, registry=registry)
    restarts = Gauge("skysail_worker_restarts", "Restarts of the workers that run now", labels, registry=registry)
    workers = Gauge("skysail_workers", "Workers by their last heartbeat", (*labels, "state"), registry=registry)
    snapshot = await service.ledger.snapshot()
    for versions in snapshot.models.values():
        for spec in versions.values():
            wanted.labels(spec.name, spec.version).set(spec.replicas)
            current.labels(spec.name, spec.version).set(snapshot.current.get(spec.name) == spec.version)
    for replica in service.manager.replicas():
        restarts.labels(replica.model, replica.version).inc(replica.restarts)
    for beat in await service.workers.alive():
        workers.labels(beat.model, beat.version, beat.state).inc()
    return registry
