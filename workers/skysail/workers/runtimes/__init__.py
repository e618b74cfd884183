"""What runs a model's code: one file for each framework, behind one small protocol, chosen from an allow-list."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from skysail.topics.artifacts import Manifest
from skysail.topics.errors import ArtifactError
from skysail.workers.runtimes.model import Model

__all__ = ["Loader", "Model", "loader_for"]

#: Reads a verified artifact's folder. What it raises is the model's own failure to load.
Loader = Callable[[Path, Manifest], Model]

#: Framework → module with a function `load`. A framework that is not here is refused: no artifact names code to import.
_LOADERS = {
    "python-closure": "skysail.workers.runtimes.closure",
    "sklearn": "skysail.workers.runtimes.sklearn",
}


def loader_for(framework: str) -> Loader:
    """The loader of a framework. Its module, and so the framework, is imported only now.

    Raises:
        ArtifactError: naming the frameworks that there are.
    """
    module = _LOADERS.get(framework)
    if module is None:
        message = f"no loader for framework {framework!r}: expected one of {', '.join(_LOADERS)}"
        raise ArtifactError(message)
    load: Loader = import_module(module).load
    return load
