"""`Connection`: the admin library. Methods are named as those of Clipper's `ClipperConnection` that mean the same."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from skysail.admin.client_errors import error_of
from skysail.topics.errors import UnavailableError
from skysail.topics.specs import ApplicationSpec, BatchSpec, InputType, ModelSpec, parse_input_type

__all__ = ["Connection"]

DEFAULT_CACHE_TTL_S = 60
_TIMEOUT_S = 30.0
#: A deployment answers when its workers are ready.
_DEPLOY_TIMEOUT_S = 1800.0


def _default_key() -> bytes | None:
    """The signing key by settings, else that of a stack on this machine."""
    named = os.environ.get("SKYSAIL_ARTIFACTS__SIGNING_KEY")
    if named:
        return named.encode()
    from skysail.admin.embedded.state import default_state

    file = Path(os.environ.get("SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE") or default_state() / "signing.key")
    return file.read_bytes().strip() if file.exists() else None


class Connection:
    """A blocking client of the admin process; a context manager.

    Args:
        admin_url: of the admin process.
        frontend_url: of a frontend, for `get_query_addr` and `inspect_instance`.
        signing_key: that artifacts are signed with; by default what `SKYSAIL_ARTIFACTS__SIGNING_KEY(_FILE)` says, or
            the key of the stack on this machine.

    Every method raises the error of `skysail.topics.errors` that fits: NotFoundError, ConflictError, BadInputError,
    DeployError, UnavailableError when the admin process does not answer.
    """

    def __init__(
        self,
        admin_url: str = "http://127.0.0.1:1338",
        *,
        frontend_url: str = "http://127.0.0.1:1337",
        signing_key: bytes | None = None,
    ) -> None:
        self.admin_url = admin_url.rstrip("/")
        self.frontend_url = frontend_url.rstrip("/")
        self.signing_key = signing_key if signing_key is not None else _default_key()
        self._http = httpx.Client(timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, f"{self.admin_url}/api/v1{path}", **options)
        except httpx.HTTPError as error:
            message = f"the admin process at {self.admin_url} does not answer: {str(error) or type(error).__name__}"
            raise UnavailableError(message) from error
        if not answer.is_success:
            raise error_of(answer)
        return answer.json() if answer.content else None

    def connect(self) -> None:
        """Check that the admin process answers and its registry can be read."""
        self._call("GET", "/apps")

    # ------------------------------------------------------------------------------------------------ applications

    def register_application(
        self,
        name: str,
        input_type: str | InputType,
        default_output: Any = None,
        slo_micros: int = 3_000_000,
        *,
        cache_ttl_s: int = DEFAULT_CACHE_TTL_S,
        null_default: bool = False,
    ) -> None:
        """Register an application.

        Args:
            name: the first part of its URL.
            input_type: what one row is.
            default_output: any JSON value answered when there is no prediction; None: none, failures are errors.
            slo_micros: latency objective: a query's deadline.
            cache_ttl_s: seconds that answers may come from the cache (0: never).
            null_default: make null the default output.
        """
        spec = ApplicationSpec(
            name=name,
            input_type=parse_input_type(input_type),
            default_output=default_output,
            has_default=default_output is not None or null_default,
            latency_slo_micros=slo_micros,
            cache_ttl_s=cache_ttl_s,
        )
        self._call("POST", "/apps", content=msgspec.json.encode(spec))

    def delete_application(self, name: str) -> None:
        """Remove an application and its link."""
        self._call("DELETE", f"/apps/{name}")

    unregister_application = delete_application

    def link_model_to_app(self, app_name: str, model_name: str) -> None:
        """Let a model answer an application's queries."""
        self._call("PUT", f"/apps/{app_name}/link", json={"models": [model_name]})

    def unlink_model_from_app(self, app_name: str, model_name: str) -> None:
        """End that."""
        self._call("DELETE", f"/apps/{app_name}/link", params={"model": model_name})

    def get_all_apps(self, *, verbose: bool = False) -> list[Any]:
        """Names of all applications; with `verbose`, all about them."""
        apps: list[dict[str, Any]] = self._call("GET", "/apps")
        return apps if verbose else [app["name"] for app in apps]

    def get_app_info(self, name: str) -> dict[str, Any]:
        """All about an application."""
        info: dict[str, Any] = self._call("GET", f"/apps/{name}")
        return info

    def get_linked_models(self, app_name: str) -> list[str]:
        """Models that answer an application's queries."""
        return list(self.get_app_info(app_name)["models"])

    # ------------------------------------------------------------------------------------------------ models

    def deploy_artifact(
        self, spec: ModelSpec, folder: Path, *, promote: bool = True, timeout_s: float | None = None
    ) -> None:
        """Upload a sealed artifact and deploy it; returns when the version is ready. What the deployers call."""
        path = f"/models/{spec.name}/versions/{spec.version}"
        self._call("PUT", f"{path}/artifact", content=_zip(folder), timeout=_DEPLOY_TIMEOUT_S)
        options: dict[str, Any] = {"promote": promote}
        if timeout_s is not None:
            options["timeout_s"] = timeout_s
        body = msgspec.json.encode(spec)
        self._call("POST", f"{path}/deploy", content=body, params=options, timeout=_DEPLOY_TIMEOUT_S)

    def register_model(  # noqa: PLR0917 - Clipper's signature
        self,
        name: str,
        version: str | int,
        input_type: str | InputType,
        image: str | None = None,
        labels: Iterable[str] = (),
        batch_size: int = -1,
    ) -> None:
        """Register a version whose workers you run yourself; it becomes current, as in Clipper."""
        batch = BatchSpec() if batch_size == -1 else BatchSpec(policy="fixed", size=batch_size, max_rows=batch_size)
        spec = ModelSpec(
            name=name,
            version=str(version),
            input_type=parse_input_type(input_type),
            image=image or "",
            labels=tuple(labels),
            batch=batch,
        )
        self._call("POST", "/models", content=msgspec.json.encode(spec), params={"current": True})

    def set_model_version(self, name: str, version: str | int, num_replicas: int | None = None) -> None:
        """Make a version current, once a worker of it is ready."""
        body = {"version": str(version), "replicas": num_replicas}
        self._call("POST", f"/models/{name}/promote", json=body, timeout=_DEPLOY_TIMEOUT_S)

    promote = set_model_version

    def rollback(self, name: str) -> str:
        """Make the version current that was current before; returns it."""
        answer = self._call("POST", f"/models/{name}/rollback", timeout=_DEPLOY_TIMEOUT_S)
        return str(answer["current"])

    def get_current_model_version(self, name: str) -> str | None:
        """The version that answers now."""
        current: str | None = self._call("GET", f"/models/{name}")["current"]
        return current

    def get_all_models(self, *, verbose: bool = False) -> list[Any]:
        """``name:version`` of all versions; with `verbose`, all about them."""
        models: list[dict[str, Any]] = self._call("GET", "/models")
        return models if verbose else [f"{model['name']}:{model['version']}" for model in models]

    def get_model_info(self, name: str, version: str | int) -> dict[str, Any]:
        """All about a version."""
        info: dict[str, Any] = self._call("GET", f"/models/{name}/versions/{version}")
        return info

    def get_num_replicas(self, name: str, version: str | int | None = None) -> int:
        """How many workers are ready, of the current version by default."""
        wanted = str(version) if version is not None else self.get_current_model_version(name)
        return sum(
            (one["model"], one["version"], one["state"]) == (name, wanted, "ready")
            for one in self.get_all_model_replicas(verbose=True)
        )

    def set_num_replicas(self, name: str, num_replicas: int, version: str | int | None = None) -> str:
        """Run so many workers, of the current version by default; returns a warning, or an empty text."""
        path = f"/models/{name}/scale" if version is None else f"/models/{name}/versions/{version}/scale"
        answer = self._call("POST", path, json={"replicas": num_replicas}, timeout=_DEPLOY_TIMEOUT_S)
        return str(answer["warning"])

    def get_all_model_replicas(self, *, verbose: bool = False) -> list[Any]:
        """``name:version:worker`` of all workers; with `verbose`, their last heartbeats."""
        workers: list[dict[str, Any]] = self._call("GET", "/workers")
        return workers if verbose else [f"{one['model']}:{one['version']}:{one['worker_id']}" for one in workers]

    def get_model_replica_info(self, name: str, version: str | int, replica_id: str) -> dict[str, Any]:
        """A worker's last heartbeat; empty when it is not alive."""
        wanted = (name, str(version), replica_id)
        found = [
            one
            for one in self.get_all_model_replicas(verbose=True)
            if (one["model"], one["version"], one["worker_id"]) == wanted
        ]
        return dict(found[0]) if found else {}

    def stop_versioned_models(self, versions: Mapping[str, Iterable[str | int]]) -> None:
        """Drain and stop the workers of these versions; they stay registered."""
        for name, wanted in versions.items():
            for version in wanted:
                self.set_num_replicas(name, 0, version)

    def stop_models(self, names: Iterable[str]) -> None:
        """Drain and stop all workers of these models."""
        wanted = set(names)
        for model in self.get_all_models(verbose=True):
            if model["name"] in wanted:
                self.set_num_replicas(model["name"], 0, model["version"])

    def stop_inactive_model_versions(self, names: Iterable[str]) -> None:
        """Drain and stop the workers of every version of these models that is not current."""
        wanted = set(names)
        for model in self.get_all_models(verbose=True):
            if model["name"] in wanted and not model["is_current"]:
                self.set_num_replicas(model["name"], 0, model["version"])

    def stop_all_model_containers(self) -> None:
        """Drain and stop all workers."""
        self.stop_models({model["name"] for model in self.get_all_models(verbose=True)})

    def delete_versioned_model(self, name: str, version: str | int) -> None:
        """Remove a version with its workers, topics and artifact; not the current one while others are there."""
        self._call("DELETE", f"/models/{name}/versions/{version}", timeout=_DEPLOY_TIMEOUT_S)

    # ------------------------------------------------------------------------------------------------ looking

    def get_logs(self, name: str, version: str | int, lines: int = 100) -> dict[str, str]:
        """The end of each worker's log."""
        logs: dict[str, str] = self._call("GET", f"/models/{name}/versions/{version}/logs", params={"lines": lines})
        return logs

    def get_clipper_logs(self, logging_dir: str = "clipper_logs/") -> list[str]:
        """Write the end of every worker's log into a folder; returns the files' names."""
        folder = Path(logging_dir)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for model in self.get_all_models(verbose=True):
            for slot, text in self.get_logs(model["name"], model["version"], 10_000).items():
                file = folder / f"{slot}.log"
                file.write_text(text)
                written.append(str(file))
        return written

    def get_query_addr(self) -> str:
        """``host:port`` of the frontend."""
        return self.frontend_url.partition("://")[2]

    def get_metric_addr(self) -> str:
        """URL of the frontend's metrics."""
        return f"{self.frontend_url}/metrics"

    def inspect_instance(self) -> dict[str, Any]:
        """The frontend's metrics as numbers by name and labels, and every worker's last heartbeat."""
        from prometheus_client.parser import text_string_to_metric_families

        try:
            text = self._http.get(f"{self.frontend_url}/metrics").raise_for_status().text
        except httpx.HTTPError as error:
            message = f"the frontend at {self.frontend_url} does not answer: {error}"
            raise UnavailableError(message) from error
        samples: list[Any] = [one for family in text_string_to_metric_families(text) for one in family.samples]
        metrics = {_series(one.name, one.labels): one.value for one in samples if not one.name.endswith("_bucket")}
        return {"frontend": metrics, "workers": self.get_all_model_replicas(verbose=True)}

    @staticmethod
    def test_predict_function(query: Mapping[str, Any], func: Callable[[Any], Any], input_type: str) -> list[Any]:
        """Try a predict function here, through the pickle that a worker would get.

        Args:
            query: ``{"input": row}`` or ``{"input_batch": rows}``.
            func: of one batch.
            input_type: what one row is.
        """
        from skysail.admin.deployers.capture import capture, round_trip
        from skysail.admin.deployers.trial import try_predict

        rows = list(query["input_batch"]) if "input_batch" in query else [query["input"]]
        return try_predict(round_trip(capture(func)), rows, parse_input_type(input_type))


def _series(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def _zip(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()
