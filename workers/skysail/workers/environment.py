"""Whether this process can give a model the environment that it was made with."""

from __future__ import annotations

import sys
from importlib import metadata

from skysail.topics.artifacts import Environment
from skysail.topics.errors import ArtifactError

__all__ = ["check_environment"]


def check_environment(environment: Environment) -> None:
    """Compare interpreter and distributions with what the artifact records.

    Pickled code does not load under another ``major.minor`` of Python, and a model unpickled under another version of
    its library may load and answer differently, so versions must be equal.

    Raises:
        ArtifactError: naming everything that differs: package, wanted, found.
    """
    differences = [*_interpreter(environment.python), *_distributions(environment.distributions)]
    if differences:
        message = f"this worker cannot give the model its environment: {'; '.join(differences)}"
        raise ArtifactError(message)


def _interpreter(wanted: str) -> list[str]:
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not wanted or wanted == found:
        return []
    return [f"python {wanted} wanted, {found} found"]


def _distributions(wanted: dict[str, str]) -> list[str]:
    differences = []
    for name, version in sorted(wanted.items()):
        found = _installed(name)
        if found != version:
            differences.append(f"{name} {version} wanted, {found or 'none'} found")
    return differences


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
