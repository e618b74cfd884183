"""`Connection`: the admin library. Methods are named as those of Clipper's `ClipperConnection` that mean the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from skysail.admin.letters import Letters
from skysail.admin.signing import default_signing_key
from skysail.admin.transport import PATIENT_S, zipped
from skysail.topics.artifacts import verify
from skysail.topics.names import check_name
from skysail.topics.specs import ApplicationSpec, BatchSpec, InputType, ModelSpec, parse_input_type

__all__ = ["Connection"]

DEFAULT_CACHE_TTL_S = 60


class Connection(Letters):
    """A blocking client of the admin process; a context manager. Connects on the first call.

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
        super().__init__(admin_url, frontend_url)
        self._signing_key = signing_key

    @property
    def signing_key(self) -> bytes | None:
        """The key that artifacts are signed with; None: they are not signed."""
        if self._signing_key is None:
            self._signing_key = default_signing_key(self.admin_url)
        return self._signing_key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Check that the admin process answers and its registry can be read."""
        self._call("GET", "status")

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
        self._call("POST", "apps", content=msgspec.json.encode(spec))

    def delete_application(self, name: str) -> None:
        """Remove an application and its link. What it was told by feedback stays on its topic."""
        self._call("DELETE", "apps", check_name("application name", name))

    unregister_application = delete_application

    def link_model_to_app(self, app_name: str, model_name: str) -> None:
        """Let a model answer an application's queries."""
        self._call("PUT", "apps", check_name("application name", app_name), "link", json={"models": [model_name]})

    def unlink_model_from_app(self, app_name: str, model_name: str) -> None:
        """End that."""
        self._call("DELETE", "apps", check_name("application name", app_name), "link", params={"model": model_name})

    # ------------------------------------------------------------------------------------------------ new versions

    def deploy_artifact(
        self, spec: ModelSpec, folder: Path, *, promote: bool = True, timeout_s: float | None = None
    ) -> None:
        """Upload a sealed artifact and deploy it; returns when the version is ready. What the deployers call.

        Args:
            spec: of the version; framework and digest are the artifact's.
            folder: with `skysail.json`.
            promote: make it current once it is ready.
            timeout_s: how long it may take to become ready; None: the admin process's own limit.

        Raises:
            ArtifactError, SignatureError: when it is not whole, or not signed with this deployment's key.
            DeployError: with the worker's own traceback, when the version does not become ready.
        """
        manifest = verify(folder, self.signing_key)
        spec = msgspec.structs.replace(spec, framework=manifest.framework, artifact_digest=manifest.digest)
        version = ("models", spec.name, "versions", spec.version)
        with zipped(folder) as packed:
            self._call("PUT", *version, "artifact", content=packed, timeout_s=PATIENT_S)
        options = _given(promote=promote, timeout_s=timeout_s)
        self._call("POST", *version, "deploy", content=msgspec.json.encode(spec), params=options, timeout_s=PATIENT_S)

    def deploy_model(
        self,
        name: str,
        version: str | int,
        input_type: str | InputType,
        artifact: str | Path,
        *,
        labels: Iterable[str] = (),
        num_replicas: int = 1,
        batch_size: int = -1,
        promote: bool = True,
    ) -> None:
        """Deploy an artifact that is there already: a folder with `skysail.json`, sealed with this deployment's key.

        Where Clipper takes a container image, this takes an artifact; the deployers make one and deploy it in one call.
        """
        spec = ModelSpec(
            name=name,
            version=str(version),
            input_type=parse_input_type(input_type),
            labels=tuple(labels),
            replicas=num_replicas,
            batch=_batch(batch_size),
        )
        self.deploy_artifact(spec, Path(artifact), promote=promote)

    def register_model(  # noqa: PLR0917 - Clipper's signature
        self,
        name: str,
        version: str | int,
        input_type: str | InputType,
        image: str | None = None,
        labels: Iterable[str] | None = None,
        batch_size: int = -1,
    ) -> None:
        """Register a version whose workers you run yourself; it becomes current at once, as in Clipper."""
        spec = ModelSpec(
            name=name,
            version=str(version),
            input_type=parse_input_type(input_type),
            image=image or "",
            labels=tuple(labels or ()),
            batch=_batch(batch_size),
        )
        self._call("POST", "models", content=msgspec.json.encode(spec), params={"current": True})

    # ------------------------------------------------------------------------------------------------ the pointer

    def set_model_version(
        self, name: str, version: str | int, num_replicas: int | None = None, timeout_s: float | None = None
    ) -> None:
        """Make a version current, once a worker of it is ready; it gets workers where it has none.

        Args:
            name: of the model.
            version: what becomes current.
            num_replicas: workers to run, all of them ready before the promotion; as many as registered by default.
            timeout_s: how long that may take; None: the admin process's own limit.

        Raises:
            DeployError: when no worker becomes ready; the version that was current stays so.
        """
        body = {"version": str(version), "replicas": num_replicas}
        params = _given(timeout_s=timeout_s)
        self._call("POST", *_model(name), "promote", json=body, params=params, timeout_s=PATIENT_S)

    promote = set_model_version

    def rollback(self, name: str, timeout_s: float | None = None) -> str:
        """Make the version current that was current before; returns it."""
        answer = self._call("POST", *_model(name), "rollback", params=_given(timeout_s=timeout_s), timeout_s=PATIENT_S)
        return str(answer["current"])

    # ------------------------------------------------------------------------------------------------ workers

    def set_num_replicas(self, name: str, num_replicas: int, version: str | int | None = None) -> str:
        """Run so many workers, of the current version by default; returns a warning, or an empty text.

        Returns when workers beyond that number have drained; new ones may still be loading the model.
        """
        path = _model(name) if version is None else _version(name, version)
        answer = self._call("POST", *path, "scale", json={"replicas": num_replicas}, timeout_s=PATIENT_S)
        return str(answer["warning"])

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
        self._call("DELETE", *_version(name, version), timeout_s=PATIENT_S)

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


def _model(name: str) -> tuple[str, str]:
    return "models", check_name("model name", name)


def _version(name: str, version: str | int) -> tuple[str, str, str, str]:
    return *_model(name), "versions", check_name("model version", str(version))


def _batch(batch_size: int) -> BatchSpec:
    return BatchSpec() if batch_size == -1 else BatchSpec(policy="fixed", size=batch_size, max_rows=batch_size)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
