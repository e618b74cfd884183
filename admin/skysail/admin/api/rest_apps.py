"""`/api/v1/apps`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from skysail.admin.api.bodies import answer_json, documented, read_spec
from skysail.admin.service import AdminService
from skysail.admin.service.rules import find_app
from skysail.topics.specs import ApplicationSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["add_apps"]


class LinkBody(BaseModel):
    """Models to link."""

    models: list[str] = Field(description="exactly one model's name")


def add_apps(router: APIRouter, service: AdminService) -> None:
    """Applications and links."""

    @router.get("/apps", tags=["applications"])
    async def apps() -> Response:
        """All applications, with their links."""
        snapshot = await service.ledger.snapshot()
        return answer_json([_app(snapshot, app) for _, app in sorted(snapshot.apps.items())])

    @router.post("/apps", tags=["applications"], status_code=201, openapi_extra=documented(ApplicationSpec))
    async def add_app(request: Request) -> Response:
        """Register an application."""
        spec = await read_spec(ApplicationSpec, request)
        await service.apps.add(spec)
        return answer_json(spec, 201)

    @router.get("/apps/{app}", tags=["applications"])
    async def app_info(app: str) -> Response:
        """One application, with its link."""
        snapshot = await service.ledger.snapshot()
        return answer_json(_app(snapshot, find_app(snapshot, app)))

    @router.delete("/apps/{app}", tags=["applications"], status_code=204)
    async def delete_app(app: str) -> None:
        """Remove an application and its link. Its feedback topic stays."""
        await service.apps.delete(app)

    @router.put("/apps/{app}/link", tags=["applications"], status_code=204)
    async def link(app: str, body: LinkBody) -> None:
        """Link an application to a model of the same input type."""
        await service.apps.link(app, body.models)

    @router.delete("/apps/{app}/link", tags=["applications"], status_code=204)
    async def unlink(
        app: str, model: Annotated[str | None, Query(description="refuse unless it is linked to this one")] = None
    ) -> None:
        """Part an application from its model."""
        await service.apps.unlink(app, [model] if model is not None else None)


def _app(snapshot: RegistrySnapshot, app: ApplicationSpec) -> dict[str, Any]:
    link = snapshot.links.get(app.name)
    return {**msgspec.to_builtins(app), "models": list(link.models) if link is not None else []}
