"""The half of `Connection` that only looks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from skysail.admin.addresses import is_this_machine
from skysail.admin.transport import Transport
from skysail.topics.errors import DeployError, UnavailableError
from skysail.topics.names import check_name

__all__ = ["Inspection"]

_LOOK_EVERY_S = 0.1


class Inspection:
    """What is registered, what runs, what it says."""

    def __init__(self, admin_url: str, frontend_url: str) -> None:
        self.frontend_url = frontend_url.rstrip("/")
        self._transport = Transport(admin_url)
        self._call = self._transport.call

    @property
    def admin_url(self) -> str:
        """URL of the admin process."""
        return self._transport.admin_url

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    # ------------------------------------------------------------------------------------------------ registered

    def get_all_apps(self, verbose: bool = False) -> list[Any]:  # noqa: FBT001, FBT002 - Clipper's signature
        """Names of all applications; with `verbose`, all about them."""
        apps: list[dict[str, Any]] = self._call("GET", "apps")
        return apps if verbose else [app["name"] for app in apps]

    def get_app_info(self, name: str) -> dict[str, Any]:
        """All about an application."""
        info: dict[str, Any] = self._call("GET", "apps", check_name("application name", name))
        return info

    def get_linked_models(self, app_name: str) -> list[str]:
        """Models that answer an application's queries."""
        return list(self.get_app_info(app_name)["models"])

    def get_all_models(self, verbose: bool = False) -> list[Any]:  # noqa: FBT001, FBT002 - Clipper's signature
        """``name:version`` of all versions; with `verbose`, all about them."""
        models: list[dict[str, Any]] = self._call("GET", "models")
        return models if verbose else [f"{model['name']}:{model['version']}" for model in models]

    def get_model_info(self, name: str, version: str | int) -> dict[str, Any]:
        """All about a version."""
        path = ("models", check_name("model name", name), "versions", check_name("model version", str(version)))
        info: dict[str, Any] = self._call("GET", *path)
        return info

    def get_current_model_version(self, name: str) -> str | None:
        """The version that answers now; None: the model has none."""
        current: str | None = self._call("GET", "models", check_name("model name", name))["current"]
        return current

    # ------------------------------------------------------------------------------------------------ running

    def get_status(self) -> dict[str, Any]:
        """Whether all is up, and for each version how many workers are wanted and how many are ready."""
        status: dict[str, Any] = self._call("GET", "status")
        return status

    def get_num_replicas(self, name: str, version: str | int | None = None) -> int:
        """How many workers are ready, of the current version by default."""
        wanted = str(version) if version is not None else self.get_current_model_version(name)
        return sum(
            (one["model"], one["version"], one["state"]) == (name, wanted, "ready")
            for one in self.get_all_model_replicas(verbose=True)
        )

    def wait_for_replicas(
        self, name: str, num_replicas: int, version: str | int | None = None, timeout_s: float = 120.0
    ) -> None:
        """Wait until so many workers are ready, of the current version by default.

        Raises:
            DeployError: when they are not after `timeout_s`.
        """
        limit = time.monotonic() + timeout_s
        while (ready := self.get_num_replicas(name, version)) != num_replicas:
            if time.monotonic() >= limit:
                message = f"model {name}: {ready} workers are ready after {timeout_s:g} s, {num_replicas} are wanted"
                raise DeployError(message)
            time.sleep(_LOOK_EVERY_S)

    def get_all_model_replicas(self, verbose: bool = False) -> list[Any]:  # noqa: FBT001, FBT002 - Clipper's signature
        """``name:version:worker`` of all workers; with `verbose`, their last heartbeats."""
        workers: list[dict[str, Any]] = self._call("GET", "workers")
        return workers if verbose else [f"{one['model']}:{one['version']}:{one['worker_id']}" for one in workers]

    def get_model_replica_info(self, name: str, version: str | int, replica_id: str) -> dict[str, Any]:
        """A worker's last heartbeat; empty when it is not alive."""
        wanted = (name, str(version), replica_id)
        for one in self.get_all_model_replicas(verbose=True):
            if (one["model"], one["version"], one["worker_id"]) == wanted:
                return dict(one)
        return {}

    def get_processes(self) -> list[dict[str, Any]]:
        """Workers that the admin process keeps running: process, restarts, last exit."""
        processes: list[dict[str, Any]] = self._call("GET", "replicas")
        return processes

    def get_logs(self, name: str, version: str | int, lines: int = 100) -> dict[str, str]:
        """The end of each worker's log, by its slot."""
        path = ("models", check_name("model name", name), "versions", check_name("model version", str(version)))
        logs: dict[str, str] = self._call("GET", *path, "logs", params={"lines": lines})
        return logs

    def get_clipper_logs(self, logging_dir: str = "clipper_logs/") -> list[str]:
        """Write the end of the log of every worker that the admin process runs into a folder; returns the files."""
        folder = Path(logging_dir)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, version in sorted({(one["model"], one["version"]) for one in self.get_processes()}):
            for slot, text in self.get_logs(name, version, 10_000).items():
                file = folder / f"{slot}.log"
                file.write_text(text)
                written.append(str(file))
        return written

    # ------------------------------------------------------------------------------------------------ the frontend

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
            url = self.get_metric_addr()
            text = httpx.get(url, trust_env=not is_this_machine(url)).raise_for_status().text
        except httpx.HTTPError as error:
            message = f"the frontend at {self.frontend_url} does not answer: {error}"
            raise UnavailableError(message) from error
        samples: list[Any] = [one for family in text_string_to_metric_families(text) for one in family.samples]
        metrics = {_series(one.name, one.labels): one.value for one in samples if not one.name.endswith("_bucket")}
        return {"frontend": metrics, "workers": self.get_all_model_replicas(verbose=True)}


def _series(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name
