"""Clipper 0.4's management API, `/admin/*`: its bodies, its rules, its 200 with text or JSON and its 400 with text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from skysail.admin.api import clipper_bodies as bodies
from skysail.admin.api.bodies import answer_json, body_of, documented
from skysail.admin.api.clipper_reading import ClipperReading
from skysail.admin.service import AdminService
from skysail.topics.errors import BadInputError, RejectedError, SkysailError
from skysail.topics.specs import ApplicationSpec, BatchSpec, ModelSpec, parse_input_type

__all__ = ["clipper_router"]

Handler = Callable[[Any], Awaitable[Any]]


class _Writing:
    """The routes that change something; each takes its decoded body and returns Clipper's text."""

    def __init__(self, service: AdminService) -> None:
        self._apps = service.apps
        self._versions = service.versions

    async def add_app(self, body: bodies.AddApp) -> str:
        await self._apps.add(
            ApplicationSpec(
                name=body.name,
                input_type=parse_input_type(body.input_type),
                default_output=body.default_output,
                has_default=True,
                latency_slo_micros=body.latency_slo_micros,
            )
        )
        return f"Successfully added application with name '{body.name}'"

    async def delete_app(self, body: bodies.Name) -> str:
        await self._apps.delete(body.name)
        return f"Successfully deleted application with name '{body.name}'"

    async def add_model_links(self, body: bodies.Links) -> str:
        await self._apps.link(body.app_name, body.model_names)
        return f"Successfully linked model with name '{body.model_names[0]}' to application '{body.app_name}'"

    async def delete_model_links(self, body: bodies.Links) -> str:
        await self._apps.unlink(body.app_name, body.model_names)
        return "Success!"

    async def add_model(self, body: bodies.AddModel) -> str:
        spec = ModelSpec(
            name=body.model_name,
            version=body.model_version,
            input_type=parse_input_type(body.input_type),
            labels=tuple(body.labels),
            image=body.container_name,
            model_data_path=body.model_data_path,
            batch=_batch(body.batch_size),
        )
        await self._versions.register(spec, current=True)
        return f"Successfully added model with name '{spec.name}' and input type '{spec.input_type}'"

    async def delete_versioned_model(self, body: bodies.ModelVersion) -> str:
        await self._versions.delete(body.model_name, body.model_version, even_current=True)
        return f"Successfully deleted model with name '{body.model_name}' and version '{body.model_version}'"

    async def set_model_version(self, body: bodies.ModelVersion) -> str:
        await self._versions.point(body.model_name, body.model_version)
        return f"Successfully set model with name '{body.model_name}' to version '{body.model_version}'"


def _batch(batch_size: int) -> BatchSpec:
    if batch_size == -1:
        return BatchSpec()
    if batch_size < 1:
        message = f"batch_size is {batch_size}: it must be positive or -1 (adaptive)"
        raise BadInputError(message)
    return BatchSpec(policy="fixed", size=batch_size, max_rows=batch_size)


def clipper_router(service: AdminService) -> APIRouter:
    """`/admin/*`."""
    router = APIRouter(prefix="/admin", tags=["Clipper"])
    writing, reading = _Writing(service), ClipperReading(service)
    routes: dict[type[msgspec.Struct], tuple[Handler, ...]] = {
        bodies.AddApp: (writing.add_app,),
        bodies.Name: (writing.delete_app, reading.get_application),
        bodies.Links: (writing.add_model_links, writing.delete_model_links),
        bodies.AddModel: (writing.add_model,),
        bodies.ModelVersion: (writing.delete_versioned_model, writing.set_model_version, reading.get_model),
        bodies.Verbose: (reading.get_all_applications, reading.get_all_models, reading.get_all_containers),
        bodies.AppName: (reading.get_linked_models,),
        bodies.Container: (reading.get_container,),
        bodies.SelectionState: (reading.get_state,),
    }
    for kind, handlers in routes.items():
        for handler in handlers:
            _add(router, kind, handler)

    @router.get("/ping", response_class=PlainTextResponse)
    def ping() -> str:
        """Health, as Clipper spells it."""
        return "PONG"

    return router


def _add(router: APIRouter, kind: type[msgspec.Struct], handler: Handler) -> None:
    name = handler.__name__

    async def endpoint(request: Request) -> Response:
        try:
            answer = await handler(bodies.decode(kind, await body_of(request)))
        except RejectedError as error:  # broker or store away: not the request's fault
            return PlainTextResponse(str(error), 503, {"Retry-After": str(error.retry_after_s)})
        except SkysailError as error:
            return PlainTextResponse(str(error), 400)
        return PlainTextResponse(answer) if isinstance(answer, str) else answer_json(answer)

    endpoint.__doc__ = f"Body: `{bodies.schema_of(kind)}`"
    router.add_api_route(
        f"/{name}",
        endpoint,
        methods=["POST"],
        name=name,
        summary=name.replace("_", " "),
        openapi_extra=documented(kind),
    )
