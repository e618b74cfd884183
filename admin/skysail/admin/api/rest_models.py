"""`/api/v1/models`: what is registered."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from skysail.admin.api.bodies import answer_json, documented, read_spec
from skysail.admin.service import AdminService
from skysail.admin.service.rules import find_model
from skysail.topics.errors import NotFoundError
from skysail.topics.specs import ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["add_models"]


def add_models(router: APIRouter, service: AdminService) -> None:
    """Models and versions."""

    @router.get("/models", tags=["models"])
    async def models() -> Response:
        """All versions of all models."""
        snapshot = await service.ledger.snapshot()
        return answer_json([model for name in sorted(snapshot.models) for model in _versions(snapshot, name)])

    @router.get("/models/{model}", tags=["models"])
    async def versions(model: str) -> Response:
        """All versions of a model, in the order of their registration, and which is current."""
        snapshot = await service.ledger.snapshot()
        if model not in snapshot.models:
            message = f"no model is named {model!r}"
            raise NotFoundError(message)
        history = await service.ledger.history(model)
        current = snapshot.current.get(model)
        return answer_json(
            {"name": model, "current": current, "history": history, "versions": _versions(snapshot, model)}
        )

    @router.get("/models/{model}/versions/{version}", tags=["models"])
    async def model_info(model: str, version: str) -> Response:
        """One version."""
        snapshot = await service.ledger.snapshot()
        return answer_json(_model(snapshot, find_model(snapshot, model, version)))

    @router.post("/models", tags=["models"], status_code=201, openapi_extra=documented(ModelSpec))
    async def register_model(
        request: Request, *, current: Annotated[bool, Query(description="make it current at once")] = False
    ) -> Response:
        """Register a version whose workers are yours to run."""
        spec = await read_spec(ModelSpec, request)
        await service.versions.register(spec, current=current)
        return answer_json(spec, 201)

    @router.delete("/models/{model}/versions/{version}", tags=["models"], status_code=204)
    async def delete_version(model: str, version: str) -> None:
        """Drain a version's workers and remove it, with its topics and artifact."""
        await service.versions.delete(model, version)


def _versions(snapshot: RegistrySnapshot, name: str) -> list[dict[str, Any]]:
    specs = sorted(snapshot.models[name].values(), key=lambda spec: (spec.created_ms, spec.version))
    return [_model(snapshot, spec) for spec in specs]


def _model(snapshot: RegistrySnapshot, spec: ModelSpec) -> dict[str, Any]:
    return {**msgspec.to_builtins(spec), "is_current": snapshot.current.get(spec.name) == spec.version}
