"""Framework ``sklearn``: an estimator, and optionally a function ``predict(model, inputs)`` beside it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib

from skysail.topics.artifacts import Manifest
from skysail.topics.errors import ArtifactError
from skysail.workers.runtimes.model import FunctionModel, Model

__all__ = ["FUNCTION", "load"]

#: File with the cloudpickled function, where there is one.
FUNCTION = "func.pkl"


def load(folder: Path, manifest: Manifest) -> Model:
    """Read the estimator; without a function of its own, the model is its ``predict``.

    Raises:
        ArtifactError: when what was pickled cannot be called.
    """
    estimator = joblib.load(folder / manifest.entry_point)  # reads plain pickles as well
    if (folder / FUNCTION).exists():
        with (folder / FUNCTION).open("rb") as file:
            function = pickle.load(file)  # noqa: S301 - the artifact's hashes and signature have been verified
        return FunctionModel(partial(_callable(FUNCTION, function), estimator))
    return FunctionModel(_callable(manifest.entry_point, getattr(estimator, "predict", None)))


def _callable(name: str, candidate: Any) -> Callable[..., Any]:
    if not callable(candidate):
        message = f"{name} gives no function to call: expected an estimator with predict, or a function"
        raise ArtifactError(message)
    return candidate  # type: ignore[no-any-return]
