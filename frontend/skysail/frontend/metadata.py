"""Open Inference Protocol v2 metadata, readiness and repository index; health for orchestrators."""

from __future__ import annotations

from typing import Any

from skysail.topics import __version__
from skysail.topics.client import PredictionClient
from skysail.topics.specs import InputType, ModelSpec, TensorSpec, WorkerState
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["Metadata"]


class Metadata:
    """Answers from the registry's picture and the workers' heartbeats."""

    def __init__(self, client: PredictionClient, workers: WorkerDirectory) -> None:
        self._client = client
        self._workers = workers

    @staticmethod
    def server() -> dict[str, Any]:
        """`GET /v2`."""
        return {"name": "skysail", "version": __version__, "extensions": ["binary_tensor_data", "model_repository"]}

    def missing(self) -> list[str]:
        """What this frontend lacks to answer queries; empty when ready."""
        parts = {
            "registry": self._client.view.loaded,
            "broker": self._client.broker_available,
            "store": self._client.store_available,
        }
        return [name for name, there in parts.items() if not there]

    def names(self) -> list[str]:
        """Names of all models."""
        return sorted(self._client.view.snapshot.models)

    def model(self, name: str, version: str | None) -> dict[str, Any]:
        """Metadata of a model. Raises NoModelError."""
        snapshot = self._client.view.snapshot
        spec = snapshot.model(name, version)
        return {
            "name": spec.name,
            "versions": sorted(snapshot.models[name]),
            "platform": _platform(spec),
            "inputs": [_tensor(tensor) for tensor in spec.inputs or _default_inputs(spec)],
            "outputs": [_tensor(tensor) for tensor in spec.outputs],
            "properties": {"input_type": str(spec.input_type), "objective_ms": str(spec.objective_ms)},
        }

    async def ready(self, name: str, version: str | None) -> bool:
        """Whether a worker answers for a model now. Raises NoModelError, UnavailableError."""
        spec = self._client.view.snapshot.model(name, version)
        return bool(await self._workers.ready(spec.name, spec.version))

    async def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """`POST /v2/repository/index`."""
        alive = await self._workers.alive()
        rows = []
        for name, versions in sorted(self._client.view.snapshot.models.items()):
            for version in sorted(versions):
                states = {beat.state for beat in alive if (beat.model, beat.version) == (name, version)}
                ready = WorkerState.READY in states
                if ready or not only_ready:
                    reason = "" if ready else _reason(states)
                    state = "READY" if ready else "UNAVAILABLE"
                    rows.append({"name": name, "version": version, "state": state, "reason": reason})
        return rows


def _reason(states: set[WorkerState]) -> str:
    return f"workers are {', '.join(sorted(states))}" if states else "no worker is running"


def _platform(spec: ModelSpec) -> str:
    return {"sklearn": "sklearn_cloudpickle", "python-closure": "python_cloudpickle"}.get(
        spec.framework, spec.framework
    )


def _default_inputs(spec: ModelSpec) -> list[TensorSpec]:
    kind = spec.input_type
    if kind is InputType.TENSORS:
        return []
    shape = (-1, -1) if kind.is_numeric else (-1,)
    return [TensorSpec("input", kind.datatype or "BYTES", shape)]


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
