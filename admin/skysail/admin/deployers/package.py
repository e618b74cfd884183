"""Puts an artifact together in a folder, seals it, and hands it to the admin process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from skysail.admin.connection import Connection
from skysail.admin.deployers.capture import Captured
from skysail.admin.deployers.environment import environment_of
from skysail.admin.deployers.options import DeployOptions
from skysail.topics.artifacts import Manifest, seal
from skysail.topics.specs import ModelSpec

__all__ = ["ship"]


def ship(
    connection: Connection, spec: ModelSpec, framework: str, pickles: Mapping[str, Captured], options: DeployOptions
) -> None:
    """Upload `pickles` (by file name; the first is the entry point) and deploy the version.

    Raises:
        DeployError: with the worker's traceback, when the version does not become ready.
    """
    with tempfile.TemporaryDirectory(prefix="skysail-artifact-") as name:
        folder = Path(name)
        for file, captured in pickles.items():
            (folder / file).write_bytes(captured.data)
        manifest = Manifest(
            name=spec.name,
            version=spec.version,
            framework=framework,
            entry_point=next(iter(pickles)),
            input_type=spec.input_type,
            environment=environment_of({module for captured in pickles.values() for module in captured.modules}),
        )
        seal(folder, manifest, connection.signing_key)
        connection.deploy_artifact(
            spec, folder, promote=options.get("promote", True), timeout_s=options.get("timeout_s")
        )
