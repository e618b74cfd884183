"""Makers of the model files: each writes one, and returns rows to ask the model for. All randomness is seeded."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits, make_classification

__all__ = ["Rows", "fit_digits", "fit_wide", "stand_in", "write_blobs", "write_network"]

#: JSON values: lists of floats, or base64 texts.
Rows = list[Any]

_SEED = 20
_HELD_OUT = 500
_WIDE, _CLASSES = 784, 10
_IMAGE = (3, 64, 64)
_IMAGES = 64
_BLOBS = 16


def fit_digits(path: Path, estimator: Any) -> Rows:
    """The 8×8 digits: 64 floats a row."""
    inputs, labels = load_digits(return_X_y=True)
    joblib.dump(estimator.fit(inputs[:-_HELD_OUT], labels[:-_HELD_OUT]), path)
    return list(inputs[-_HELD_OUT:].tolist())


def fit_wide(path: Path, estimator: Any, samples: int = 2000) -> Rows:
    """784 floats a row, as MNIST's images have, in ten overlapping classes."""
    inputs, labels = _wide(samples + _HELD_OUT)
    joblib.dump(estimator.fit(inputs[:-_HELD_OUT], labels[:-_HELD_OUT]), path)
    return list(inputs[-_HELD_OUT:].tolist())


def _wide(samples: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    inputs, labels = make_classification(
        samples, _WIDE, n_informative=60, n_redundant=100, n_classes=_CLASSES, random_state=_SEED
    )
    return np.round(inputs, 4), labels


def stand_in(path: Path, **settings: Any) -> Rows:
    """A model that is only described (`peers/model.py` says how), asked for rows of 784 floats."""
    path.write_text(json.dumps(settings))
    inputs, _ = _wide(_HELD_OUT)
    return list(inputs.tolist())


def write_blobs(path: Path, encoded_bytes: int) -> Rows:
    """A model that returns the length of what it gets: blobs of `encoded_bytes` as base64 text."""
    path.write_text(json.dumps({"kind": "length"}))
    random = np.random.default_rng(_SEED)
    return [base64.b64encode(random.bytes(encoded_bytes // 4 * 3)).decode() for _ in range(_BLOBS)]


def write_network(path: Path) -> Rows:
    """A convolutional network on 3×64×64 images, given as 12,288 floats: conv, relu, pool, twice; gemm; the best class.

    Its weights are random: the time that it takes does not depend on them.
    """
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(_SEED)
    weights = _weights(random)
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["images"]),
        *_layer(helper, "images", 1),
        *_layer(helper, "pooled1", 2),
        helper.make_node("Flatten", ["pooled2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "gemm_w", "gemm_b"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["output"], axis=1, keepdims=0),
    ]
    width = int(np.prod(_IMAGE))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("output", TensorProto.INT64, ["rows"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return list(np.round(random.random((_IMAGES, width)), 3).tolist())


def _weights(random: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    def normal(*shape: int) -> npt.NDArray[Any]:
        return (0.1 * random.standard_normal(shape)).astype(np.float32)

    channels, height, width = _IMAGE
    return {
        "shape": np.array([-1, *_IMAGE], dtype=np.int64),
        "conv1_w": normal(16, channels, 3, 3),
        "conv1_b": normal(16),
        "conv2_w": normal(32, 16, 3, 3),
        "conv2_b": normal(32),
        "gemm_w": normal(32 * (height // 4) * (width // 4), _CLASSES),
        "gemm_b": normal(_CLASSES),
    }


def _layer(helper: Any, source: str, number: int) -> list[Any]:
    conv, relu, pooled = f"conv{number}", f"relu{number}", f"pooled{number}"
    return [
        helper.make_node("Conv", [source, f"{conv}_w", f"{conv}_b"], [conv], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [conv], [relu]),
        helper.make_node("MaxPool", [relu], [pooled], kernel_shape=[2, 2], strides=[2, 2]),
    ]
