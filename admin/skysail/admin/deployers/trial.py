"""Trying a predict function on a sample before anything is uploaded, the way a worker will call it."""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from skysail.topics.errors import BadInputError, OutputLengthError
from skysail.topics.payloads import dtype_of, to_jsonable
from skysail.topics.specs import InputType, TensorSpec

__all__ = ["batch_of", "try_predict"]


def batch_of(rows: list[Any], kind: InputType, inputs: tuple[TensorSpec, ...] = ()) -> Any:
    """Rows as predict gets them: an array for vectors of one length, a dict of arrays for tensors, else a list."""
    if kind.is_numeric:
        dtype = dtype_of(kind.datatype or "")
        if len({len(row) for row in rows}) == 1:
            return np.array(rows, dtype)
        return [np.array(row, dtype) for row in rows]
    if kind is InputType.TENSORS:
        dtypes = {tensor.name: dtype_of(tensor.datatype) for tensor in inputs}
        return {name: np.array([row[name] for row in rows], dtypes.get(name)) for name in rows[0]}
    if kind is InputType.BYTES:
        return [base64.b64decode(row) if isinstance(row, str) else row for row in rows]
    return rows


def try_predict(predict: Callable[[Any], Any], rows: list[Any], kind: InputType) -> list[Any]:
    """Call predict on rows; its outputs as JSON values.

    Raises:
        BadInputError: when `rows` is no list of rows.
        OutputLengthError: when predict does not return one output for each row.
        Exception: what predict raises.
    """
    given: Any = rows  # from a user, whatever its annotation says
    if not isinstance(given, list) or not given:
        message = f"a sample is a list of rows, at least one; got {type(rows).__name__}"
        raise BadInputError(message)
    result = predict(batch_of(rows, kind))
    if inspect.isawaitable(result):
        result = asyncio.run(_settle(result))
    outputs: Any = to_jsonable(result)
    if isinstance(outputs, dict):
        outputs = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    if len(outputs) != len(rows):
        raise OutputLengthError(len(rows), len(outputs))
    return list(outputs)


async def _settle(result: Any) -> Any:
    return await result
