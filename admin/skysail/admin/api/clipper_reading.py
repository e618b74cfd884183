"""The routes of Clipper's management API that only look; what does not exist is an empty object, as there."""

from __future__ import annotations

from typing import Any

from skysail.admin.api import clipper_bodies as bodies
from skysail.admin.service import AdminService
from skysail.admin.service.rules import find_app
from skysail.topics.payloads import encode_json
from skysail.topics.specs import ApplicationSpec, ModelSpec, WorkerHeartbeat, WorkerState
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["ClipperReading"]


class ClipperReading:
    """Each takes its decoded body and returns text or a JSON value."""

    def __init__(self, service: AdminService) -> None:
        self._ledger = service.ledger
        self._workers = service.workers

    async def get_all_applications(self, body: bodies.Verbose) -> list[Any]:
        """Names, or all about each."""
        snapshot = await self._ledger.snapshot()
        if not body.verbose:
            return sorted(snapshot.apps)
        return [_app(snapshot, app) for _, app in sorted(snapshot.apps.items())]

    async def get_application(self, body: bodies.Name) -> dict[str, Any]:
        """All about an application; `{}` for one that does not exist."""
        snapshot = await self._ledger.snapshot()
        app = snapshot.apps.get(body.name)
        return _app(snapshot, app) if app is not None else {}

    async def get_linked_models(self, body: bodies.AppName) -> list[str]:
        """Names of its models. Raises NotFoundError for an unknown application."""
        snapshot = await self._ledger.snapshot()
        find_app(snapshot, body.app_name)
        return _linked(snapshot, body.app_name)

    async def get_all_models(self, body: bodies.Verbose) -> list[Any]:
        """``name:version`` of every version, or all about each."""
        snapshot = await self._ledger.snapshot()
        specs = [spec for _, versions in sorted(snapshot.models.items()) for _, spec in sorted(versions.items())]
        return [_model(snapshot, spec) if body.verbose else f"{spec.name}:{spec.version}" for spec in specs]

    async def get_model(self, body: bodies.ModelVersion) -> dict[str, Any]:
        """All about a version; `{}` for one that does not exist."""
        snapshot = await self._ledger.snapshot()
        spec = snapshot.models.get(body.model_name, {}).get(body.model_version)
        return _model(snapshot, spec) if spec is not None else {}

    async def get_all_containers(self, body: bodies.Verbose) -> list[Any]:
        """``name:version:number`` of the workers that are ready, or all about each."""
        if body.verbose:
            snapshot = await self._ledger.snapshot()
            return [_container(snapshot, beat, replica) for beat, replica in await self._replicas()]
        return [f"{beat.model}:{beat.version}:{replica}" for beat, replica in await self._replicas()]

    async def get_container(self, body: bodies.Container) -> dict[str, Any]:
        """All about a worker that is ready; `{}` for one that is not."""
        wanted = (body.model_name, body.model_version, body.replica_id)
        snapshot = await self._ledger.snapshot()
        for beat, replica in await self._replicas():
            if (beat.model, beat.version, replica) == wanted:
                return _container(snapshot, beat, replica)
        return {}

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

    async def get_state(self, body: bodies.SelectionState) -> str:
        """The selection state of Clipper's only policy is the application's default output."""
        app = find_app(await self._ledger.snapshot(), body.app_name)
        default = app.default_output
        return default if isinstance(default, str) else encode_json(default).decode()


def _linked(snapshot: RegistrySnapshot, app: str) -> list[str]:
    link = snapshot.links.get(app)
    return list(link.models) if link is not None else []


def _app(snapshot: RegistrySnapshot, app: ApplicationSpec) -> dict[str, Any]:
    default = {"default_output": app.default_output} if app.has_default else {}
    return {
        "name": app.name,
        "input_type": app.input_type,
        **default,
        "latency_slo_micros": app.latency_slo_micros,
        "linked_models": _linked(snapshot, app.name),
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


def _container(snapshot: RegistrySnapshot, beat: WorkerHeartbeat, replica: int) -> dict[str, Any]:
    spec = snapshot.models.get(beat.model, {}).get(beat.version)
    return {
        "model_id": f"{beat.model}:{beat.version}",
        "model_name": beat.model,
        "model_version": beat.version,
        "model_replica_id": replica,
        "input_type": spec.input_type if spec is not None else "",
        "worker_id": beat.worker_id,
        "batch_size": beat.batch_cap,
    }
