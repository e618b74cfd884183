"""Skysail's own admin API, `/api/v1`: what Clipper's lacks, and what `Connection` and the command line use."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from skysail.admin.service import AdminService
from skysail.admin.service.rules import find_app, find_model
from skysail.topics.errors import BadInputError, DecodeError
from skysail.topics.specs import ApplicationSpec, ModelSpec, decode_spec
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["rest_router"]


class LinkBody(BaseModel):
    """Models to link."""

    models: list[str] = Field(description="exactly one model's name")


class PromoteBody(BaseModel):
    """Which version becomes current."""

    version: str
    replicas: int | None = Field(default=None, ge=1, description="workers to run; as many as registered by default")


class ScaleBody(BaseModel):
    """How many workers."""

    replicas: int = Field(ge=0)


def rest_router(service: AdminService, workers: WorkerDirectory) -> APIRouter:
    """`/api/v1/*`."""
    router = APIRouter(prefix="/api/v1")
    _add_apps(router, service)
    _add_models(router, service)
    _add_deployment(router, service)
    _add_operations(router, service, workers)
    return router


def _add_apps(router: APIRouter, service: AdminService) -> None:
    @router.get("/apps", tags=["applications"])
    async def apps() -> Response:
        """All applications, with their links."""
        snapshot = await service.registry.snapshot()
        links = {name: list(link.models) for name, link in snapshot.links.items()}
        return _json(
            [{**msgspec.to_builtins(app), "models": links.get(name, [])} for name, app in snapshot.apps.items()]
        )

    @router.post("/apps", tags=["applications"], status_code=201)
    async def add_app(request: Request) -> Response:
        """Register an application. Body: an ApplicationSpec."""
        spec = _spec(ApplicationSpec, await request.body())
        await service.add_app(spec)
        return _json(spec, 201)

    @router.get("/apps/{app}", tags=["applications"])
    async def app_info(app: str) -> Response:
        """One application, with its link."""
        snapshot = await service.registry.snapshot()
        link = snapshot.links.get(app)
        return _json({**msgspec.to_builtins(find_app(snapshot, app)), "models": list(link.models) if link else []})

    @router.delete("/apps/{app}", tags=["applications"], status_code=204)
    async def delete_app(app: str) -> None:
        """Remove an application and its link."""
        await service.delete_app(app)

    @router.put("/apps/{app}/link", tags=["applications"], status_code=204)
    async def link(app: str, body: LinkBody) -> None:
        """Link an application to a model."""
        await service.link(app, body.models)

    @router.delete("/apps/{app}/link", tags=["applications"], status_code=204)
    async def unlink(app: str) -> None:
        """Part an application from its model."""
        await service.unlink(app)


def _add_models(router: APIRouter, service: AdminService) -> None:
    @router.get("/models", tags=["models"])
    async def models() -> Response:
        """All versions of all models."""
        snapshot = await service.registry.snapshot()
        specs = [spec for versions in snapshot.models.values() for spec in versions.values()]
        return _json([_model(spec, snapshot.current.get(spec.name)) for spec in specs])

    @router.get("/models/{model}", tags=["models"])
    async def versions(model: str) -> Response:
        """All versions of a model, and which is current."""
        snapshot = await service.registry.snapshot()
        snapshot.model(model, next(iter(snapshot.models.get(model, {})), None))
        return _json(
            {
                "name": model,
                "current": snapshot.current.get(model),
                "versions": [_model(spec, snapshot.current.get(model)) for spec in snapshot.models[model].values()],
            }
        )

    @router.get("/models/{model}/versions/{version}", tags=["models"])
    async def model_info(model: str, version: str) -> Response:
        """One version."""
        snapshot = await service.registry.snapshot()
        return _json(_model(find_model(snapshot, model, version), snapshot.current.get(model)))

    @router.post("/models", tags=["models"], status_code=201)
    async def register_model(request: Request, *, current: bool = False) -> Response:
        """Register a version whose workers are yours, or started later. Body: a ModelSpec."""
        spec = _spec(ModelSpec, await request.body())
        await service.register_model(spec, current=current)
        return _json(spec, 201)

    @router.delete("/models/{model}/versions/{version}", tags=["models"], status_code=204)
    async def delete_version(model: str, version: str) -> None:
        """Drain a version's workers and remove it."""
        await service.delete_version(model, version)


def _add_deployment(router: APIRouter, service: AdminService) -> None:
    @router.put("/models/{model}/versions/{version}/artifact", tags=["deployment"], status_code=201)
    async def upload(model: str, version: str, request: Request) -> Response:
        """Store an artifact. Body: a zip of its folder."""
        return _json(await service.artifacts.receive(model, version, request.stream()), 201)

    @router.post("/models/{model}/versions/{version}/deploy", tags=["deployment"])
    async def deploy(
        model: str, version: str, request: Request, *, promote: bool = True, timeout_s: float | None = None
    ) -> Response:
        """Deploy a version whose artifact is stored; answers when it is ready. Body: a ModelSpec."""
        spec = _spec(ModelSpec, await request.body())
        if (spec.name, spec.version) != (model, version):
            message = f"the body is of {spec.key}, the path of {model}/{version}"
            raise BadInputError(message)
        await service.deploy(spec, promote=promote, timeout_s=timeout_s)
        return _json({"name": model, "version": version, "current": promote})

    @router.post("/models/{model}/promote", tags=["deployment"])
    async def promote_version(model: str, body: PromoteBody) -> Response:
        """Make a version current, once it is ready."""
        await service.promote(model, body.version, body.replicas)
        return _json({"name": model, "current": body.version})

    @router.post("/models/{model}/rollback", tags=["deployment"])
    async def rollback(model: str) -> Response:
        """Make the version current that was current before."""
        return _json({"name": model, "current": await service.rollback(model)})

    @router.post("/models/{model}/scale", tags=["deployment"])
    @router.post("/models/{model}/versions/{version}/scale", tags=["deployment"])
    async def scale(model: str, body: ScaleBody, version: str | None = None) -> Response:
        """Run so many workers."""
        spec = await service.scale(model, version, body.replicas)
        idle = body.replicas - spec.partitions
        warning = (
            f"the topic has {spec.partitions} partitions: {idle} workers will have nothing to do" if idle > 0 else ""
        )
        return _json({"name": model, "version": spec.version, "replicas": body.replicas, "warning": warning})


def _add_operations(router: APIRouter, service: AdminService, workers: WorkerDirectory) -> None:
    @router.get("/workers", tags=["operations"])
    async def alive() -> Response:
        """Heartbeats of all workers that are alive."""
        return _json(await workers.alive())

    @router.get("/models/{model}/versions/{version}/logs", tags=["operations"])
    async def logs(model: str, version: str, lines: int = 100) -> Response:
        """The end of each worker's log."""
        find_model(await service.registry.snapshot(), model, version)
        return _json(service.manager.logs(model, version, lines))


def _model(spec: ModelSpec, current: str | None) -> dict[str, Any]:
    return {**msgspec.to_builtins(spec), "is_current": spec.version == current}


def _spec(kind: Any, body: bytes) -> Any:
    try:
        return decode_spec(kind, body)
    except DecodeError as error:
        raise BadInputError(str(error)) from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
