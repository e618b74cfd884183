"""From an artifact's folder to a loaded model: verify, check the environment, and only then unpickle."""

from __future__ import annotations

from pathlib import Path

from skysail.topics.artifacts import verify
from skysail.topics.errors import ArtifactError
from skysail.topics.specs import ModelSpec
from skysail.workers.environment import check_environment
from skysail.workers.runtimes import Model, loader_for

__all__ = ["artifact_folder", "load_model"]


def artifact_folder(artifacts: Path, spec: ModelSpec) -> Path:
    """Where the artifact of a version is, below the artifact store's folder."""
    return artifacts / "models" / spec.name / spec.version


def load_model(folder: Path, spec: ModelSpec, key: bytes | None) -> Model:
    """Load a version's model from its artifact.

    Raises:
        ArtifactError, SignatureError: when the artifact is not what was registered, or cannot be loaded here.
        Exception: whatever the model's own code raises while it is unpickled.
    """
    manifest = verify(folder, key)
    if (manifest.name, manifest.version) != (spec.name, spec.version):
        message = f"the artifact in {folder} is of {manifest.name}/{manifest.version}, not of {spec.key}"
        raise ArtifactError(message)
    if spec.artifact_digest and manifest.digest != spec.artifact_digest:
        message = f"the artifact of {spec.key} is not the one that was registered (its digest differs)"
        raise ArtifactError(message)
    if manifest.entry_point not in manifest.files:
        message = f"the artifact of {spec.key} names entry point {manifest.entry_point!r}, which it does not hold"
        raise ArtifactError(message)
    check_environment(manifest.environment)
    return loader_for(manifest.framework)(folder, manifest)
