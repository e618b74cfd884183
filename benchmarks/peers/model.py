"""The model that a peer serves, loaded from the file that all share. Runs in each peer's own environment."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["gather", "lazy", "load"]

Predict = Callable[[Any], list[Any]]


def load(path: str | Path) -> Predict:
    """The predict function of a model file: a batch (see `gather`) in, one output for each row out.

    Args:
        path: `.joblib`: an estimator; `.onnx`: a network, run on one thread; `.json`: what stands in for a model.
    """
    path = Path(path)
    return {".joblib": _estimator, ".onnx": _network, ".json": _stand_in}[path.suffix](path)


def gather(inputs: Sequence[Any]) -> Any:
    """Requests' inputs as one batch: vectors as an array (rows, n); base64 texts as a list of bytes."""
    if isinstance(inputs[0], str | bytes):
        return [base64.b64decode(text) for text in inputs]
    return np.asarray(inputs)


def lazy(path: str | Path) -> Predict:
    """The same as `load`, but the file is read at the first call, in the process that calls."""
    location = str(path)
    loaded: list[Predict] = []

    def predict(batch: Any) -> list[Any]:
        if not loaded:
            loaded.append(load(location))
        return loaded[0](batch)

    return predict


def _estimator(path: Path) -> Predict:
    import joblib

    estimator = joblib.load(path)
    return lambda batch: estimator.predict(batch).tolist()


def _network(path: Path) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: np.asarray(batch, dtype=np.float32)})[0].tolist()


def _stand_in(path: Path) -> Predict:
    settings = json.loads(path.read_text())
    fixed_s, per_row_s = settings.get("fixed_ms", 0) / 1000, settings.get("per_row_ms", 0) / 1000

    def sleep(batch: Any) -> list[int]:
        time.sleep(fixed_s + per_row_s * len(batch))
        return [0] * len(batch)

    kinds: dict[str, Predict] = {
        "no-op": lambda batch: [0] * len(batch),
        "length": lambda batch: [len(row) for row in batch],
        "sleep": sleep,
    }
    return kinds[settings["kind"]]
