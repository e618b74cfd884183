"""Clipper 0.4's management API, `/admin/*`: its bodies, its rules, its 200 and 400 with text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from skysail.admin.service import AdminService
from skysail.admin.service.rules import find_app
from skysail.topics.errors import BadInputError, RejectedError, SkysailError
from skysail.topics.specs import ApplicationSpec, BatchSpec, ModelSpec, WorkerHeartbeat, WorkerState, parse_input_type
from skysail.topics.store.registry import RegistrySnapshot
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["clipper_router"]

T = TypeVar("T")


class _AddApp(msgspec.Struct):
    name: str
    input_type: str
    default_output: str
    latency_slo_micros: int


class _Name(msgspec.Struct):
    name: str


class _Links(msgspec.Struct):
    app_name: str
    model_names: list[str]


class _AddModel(msgspec.Struct):
    model_name: str
    model_version: str
    labels: list[str]
    input_type: str
    container_name: str
    model_data_path: str
    batch_size: int


class _Model(msgspec.Struct):
    model_name: str
    model_version: str


class _Verbose(msgspec.Struct):
    verbose: bool


class _AppName(msgspec.Struct):
    app_name: str


class _Container(msgspec.Struct):
    model_name: str
    model_version: str
    replica_id: int


class _State(msgspec.Struct):
    app_name: str
    uid: int


def _schema(kind: type[msgspec.Struct]) -> str:
    fields = (
        f'"{field.name}": {getattr(field.type, "__name__", field.type)}' for field in msgspec.structs.fields(kind)
    )
    return "{" + ", ".join(fields) + "}"


def _decode(kind: type[T], body: bytes) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        schema = _schema(kind)  # type: ignore[arg-type]
        message = f"Error parsing JSON: {error}. Expected JSON schema: {schema}"
        raise BadInputError(message) from None


Handler = Callable[[Any], Awaitable[Any]]


class _Clipper:
    """The routes' work; each takes its decoded body and returns text or a JSON value."""

    def __init__(self, service: AdminService, workers: WorkerDirectory) -> None:
        self._service = service
        self._workers = workers

    async def _snapshot(self) -> RegistrySnapshot:
        return await self._service.registry.snapshot()

    async def add_app(self, body: _AddApp) -> str:
        await self._service.add_app(
            ApplicationSpec(
                name=body.name,
                input_type=parse_input_type(body.input_type),
                default_output=body.default_output,
                has_default=True,
                latency_slo_micros=body.latency_slo_micros,
            )
        )
        return "Success!"

    async def delete_app(self, body: _Name) -> str:
        await self._service.delete_app(body.name)
        return "Success!"

    async def add_model_links(self, body: _Links) -> str:
        await self._service.link(body.app_name, body.model_names)
        return "Success!"

    async def delete_model_links(self, body: _Links) -> str:
        await self._service.unlink(body.app_name, body.model_names)
        return "Success!"

    async def add_model(self, body: _AddModel) -> str:
        if body.batch_size != -1 and body.batch_size < 1:
            message = f"batch_size is {body.batch_size}: expected -1 (adaptive) or more than 0"
            raise BadInputError(message)
        adaptive = body.batch_size == -1
        spec = ModelSpec(
            name=body.model_name,
            version=body.model_version,
            input_type=parse_input_type(body.input_type),
            labels=tuple(body.labels),
            image=body.container_name,
            model_data_path=body.model_data_path,
            batch=BatchSpec()
            if adaptive
            else BatchSpec(policy="fixed", size=body.batch_size, max_rows=body.batch_size),
        )
        await self._service.register_model(spec, current=True)
        return "Success!"

    async def delete_versioned_model(self, body: _Model) -> str:
        await self._service.delete_version(body.model_name, body.model_version)
        return "Success!"

    async def set_model_version(self, body: _Model) -> str:
        await self._service.point(body.model_name, body.model_version)
        return "Success!"

    async def get_all_applications(self, body: _Verbose) -> list[Any]:
        apps = (await self._snapshot()).apps
        return [_app(app) for app in apps.values()] if body.verbose else sorted(apps)

    async def get_application(self, body: _Name) -> dict[str, Any]:
        app = (await self._snapshot()).apps.get(body.name)
        return _app(app) if app is not None else {}

    async def get_linked_models(self, body: _AppName) -> list[str]:
        snapshot = await self._snapshot()
        find_app(snapshot, body.app_name)
        link = snapshot.links.get(body.app_name)
        return list(link.models) if link is not None else []

    async def get_all_models(self, body: _Verbose) -> list[Any]:
        snapshot = await self._snapshot()
        specs = [spec for versions in snapshot.models.values() for spec in versions.values()]
        return [_model(snapshot, spec) if body.verbose else f"{spec.name}:{spec.version}" for spec in specs]

    async def get_model(self, body: _Model) -> dict[str, Any]:
        snapshot = await self._snapshot()
        spec = snapshot.models.get(body.model_name, {}).get(body.model_version)
        return _model(snapshot, spec) if spec is not None else {}

    async def get_all_containers(self, body: _Verbose) -> list[Any]:
        replicas = await self._replicas()
        if body.verbose:
            return [_container(beat, replica) for beat, replica in replicas]
        return [f"{beat.model}:{beat.version}:{replica}" for beat, replica in replicas]

    async def get_container(self, body: _Container) -> dict[str, Any]:
        wanted = (body.model_name, body.model_version, body.replica_id)
        found = [
            _container(beat, replica)
            for beat, replica in await self._replicas()
            if (beat.model, beat.version, replica) == wanted
        ]
        return found[0] if found else {}

    async def _replicas(self) -> list[tuple[WorkerHeartbeat, int]]:
        """Workers that are ready, numbered within their version, in the order of their ids."""
        numbers: dict[tuple[str, str], int] = {}
        replicas = []
        for beat in await self._workers.alive():
            if beat.state is WorkerState.READY:
                number = numbers.get((beat.model, beat.version), 0)
                numbers[beat.model, beat.version] = number + 1
                replicas.append((beat, number))
        return replicas

    async def get_state(self, body: _State) -> str:
        find_app(await self._snapshot(), body.app_name)
        return f"application {body.app_name} keeps no selection state: it asks the one model that it is linked to"


def _app(app: ApplicationSpec) -> dict[str, Any]:
    default = {"default_output": app.default_output} if app.has_default else {}
    return {
        "name": app.name,
        "input_type": app.input_type,
        **default,
        "latency_slo_micros": app.latency_slo_micros,
    }


def _model(snapshot: RegistrySnapshot, spec: ModelSpec) -> dict[str, Any]:
    return {
        "model_name": spec.name,
        "model_version": spec.version,
        "input_type": spec.input_type,
        "labels": spec.labels,
        "container_name": spec.image,
        "model_data_path": spec.model_data_path,
        "batch_size": spec.batch.size if spec.batch.size is not None else -1,
        "is_current_version": snapshot.current.get(spec.name) == spec.version,
    }


def _container(beat: WorkerHeartbeat, replica: int) -> dict[str, Any]:
    return {
        "model_id": f"{beat.model}:{beat.version}",
        "model_name": beat.model,
        "model_version": beat.version,
        "model_replica_id": replica,
        "worker_id": beat.worker_id,
        "batch_size": beat.batch_cap,
    }


def clipper_router(service: AdminService, workers: WorkerDirectory) -> APIRouter:
    """`/admin/*`."""
    router = APIRouter(prefix="/admin", tags=["Clipper"])
    work = _Clipper(service, workers)
    routes: dict[type[msgspec.Struct], tuple[Handler, ...]] = {
        _AddApp: (work.add_app,),
        _Name: (work.delete_app, work.get_application),
        _Links: (work.add_model_links, work.delete_model_links),
        _AddModel: (work.add_model,),
        _Model: (work.delete_versioned_model, work.set_model_version, work.get_model),
        _Verbose: (work.get_all_applications, work.get_all_models, work.get_all_containers),
        _AppName: (work.get_linked_models,),
        _Container: (work.get_container,),
        _State: (work.get_state,),
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
            answer = await handler(_decode(kind, await request.body()))
        except RejectedError as error:  # broker or store away: not the request's fault
            return PlainTextResponse(str(error), 503, {"Retry-After": str(error.retry_after_s)})
        except SkysailError as error:
            return PlainTextResponse(str(error), 400)
        return PlainTextResponse(answer) if isinstance(answer, str) else _json(answer)

    endpoint.__doc__ = f"Body: `{_schema(kind)}`"
    router.add_api_route(f"/{name}", endpoint, methods=["POST"], name=name, summary=name.replace("_", " "))


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
