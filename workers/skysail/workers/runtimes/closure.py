"""Framework ``python-closure``: one cloudpickled function ``predict(inputs)``."""

from __future__ import annotations

import pickle
from pathlib import Path

from skysail.topics.artifacts import Manifest
from skysail.topics.errors import ArtifactError
from skysail.workers.runtimes.model import FunctionModel, Model

__all__ = ["load"]


def load(folder: Path, manifest: Manifest) -> Model:
    """Unpickle the function.

    Raises:
        ArtifactError: when what was pickled cannot be called.
    """
    with (folder / manifest.entry_point).open("rb") as file:
        function = pickle.load(file)  # noqa: S301 - the artifact's hashes and signature have been verified
    if not callable(function):
        message = f"{manifest.entry_point} holds a {type(function).__name__}: expected a function of one batch"
        raise ArtifactError(message)
    return FunctionModel(function)
