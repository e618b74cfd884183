"""Open Inference Protocol v2 metadata, readiness and repository index; health for orchestrators."""

from __future__ import annotations

import re
from typing import Any

from skysail.frontend.oip_inputs import inputs_of
from skysail.frontend.routes import check_registry
from skysail.topics import __version__
from skysail.topics.client import PredictionClient
from skysail.topics.errors import NoModelError
from skysail.topics.specs import ModelSpec, TensorSpec, WorkerState
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["Metadata"]

_DIGITS = re.compile(r"(\d+)")


class Metadata:
    """Answers from the registry's picture and the workers' heartbeats."""

    def __init__(self, client: PredictionClient, workers: WorkerDirectory) -> None:
        self._client = client
        self._workers = workers

    @staticmethod
    def server() -> dict[str, Any]:
        """`GET /v2`. Of Triton's model repository extension there is the index; models come by deployment."""
        return {"name": "skysail", "version": __version__, "extensions": ["binary_tensor_data"]}

    def missing(self) -> list[str]:
        """What this frontend lacks to answer queries; empty when ready."""
        parts = {
            "registry": self._client.view.loaded,
            "broker": self._client.broker_available,
            "store": self._client.store_available,
        }
        return [name for name, there in parts.items() if not there]

    def names(self) -> list[str]:
        """Names of all models. Raises UnavailableError."""
        check_registry(self._client)
        return sorted(self._client.view.snapshot.models)

    def _spec(self, name: str, version: str | None) -> ModelSpec:
        try:
            return self._client.view.snapshot.model(name, version)
        except NoModelError:
            check_registry(self._client)
            raise

    def model(self, name: str, version: str | None) -> dict[str, Any]:
        """Metadata of a model. Raises NoModelError, UnavailableError."""
        spec = self._spec(name, version)
        return {
            "name": spec.name,
            "versions": sorted(self._client.view.snapshot.models[name], key=_natural),
            "platform": _platform(spec),
            "inputs": [_tensor(tensor) for tensor in inputs_of(spec)],
            "outputs": [_tensor(tensor) for tensor in spec.outputs],
            "properties": {"input_type": str(spec.input_type), "objective_ms": str(spec.objective_ms)},
        }

    async def ready(self, name: str, version: str | None) -> bool:
        """Whether a worker answers for a model now. Raises NoModelError, UnavailableError."""
        spec = self._spec(name, version)
        return bool(await self._workers.ready(spec.name, spec.version))

    async def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """`POST /v2/repository/index`. Raises UnavailableError."""
        check_registry(self._client)
        states: dict[tuple[str, str], set[WorkerState]] = {}
        for beat in await self._workers.alive():
            states.setdefault((beat.model, beat.version), set()).add(beat.state)
        rows = []
        for name, versions in sorted(self._client.view.snapshot.models.items()):
            for version in sorted(versions, key=_natural):
                found = states.get((name, version), set())
                ready = WorkerState.READY in found
                if ready or not only_ready:
                    state, reason = ("READY", "") if ready else ("UNAVAILABLE", _reason(found))
                    rows.append({"name": name, "version": version, "state": state, "reason": reason})
        return rows


def _natural(version: str) -> list[tuple[int, str]]:
    """Version 10 comes after version 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(version)]


def _reason(states: set[WorkerState]) -> str:
    return f"workers are {', '.join(sorted(states))}" if states else "no worker is running"


def _platform(spec: ModelSpec) -> str:
    return {"sklearn": "sklearn_cloudpickle", "python-closure": "python_cloudpickle"}.get(
        spec.framework, spec.framework
    )


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
