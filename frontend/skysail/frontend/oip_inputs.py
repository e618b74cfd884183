"""From the tensors of an Open Inference Protocol request to a payload for a model of any input type.

Vectors take one tensor of shape (rows, n); strings and bytes take one BYTES tensor of shape (rows,) or (rows, 1); json
takes a BYTES tensor of JSON texts, or any tensors; tensors take their declared inputs.
"""

from __future__ import annotations

import numpy as np

from skysail.topics.errors import BadInputError, DecodeError
from skysail.topics.payloads import JSON, TENSOR, Array, decode_json, dtype_of, encode_tensors, tensor_head
from skysail.topics.specs import InputType, ModelSpec, TensorSpec

__all__ = ["inputs_of", "payload_of"]

#: Row counts of so many inputs are shown in an error.
_SHOWN = 8


def inputs_of(spec: ModelSpec) -> tuple[TensorSpec, ...]:
    """What a model takes: as it declares, else as its input type implies; nothing where any tensors will do."""
    if spec.inputs or spec.input_type is InputType.TENSORS:
        return spec.inputs
    shape = (-1, -1) if spec.input_type.is_numeric else (-1,)
    return (TensorSpec("input", spec.input_type.datatype or "BYTES", shape),)


def payload_of(spec: ModelSpec, tensors: dict[str, Array]) -> tuple[bytes, str, int]:
    """Payload, content type and rows for a model out of a request's tensors.

    Raises:
        BadInputError: naming what the model takes and what came.
    """
    counts = {len(array) for array in tensors.values()}
    if len(counts) != 1:
        shown = {name: len(array) for name, array in list(tensors.items())[:_SHOWN]}
        message = f"the first dimension of every input is the row count, got {shown}"
        raise BadInputError(message)
    (count,) = counts
    if count < 1:
        message = "the inputs hold no rows: expected at least one"
        raise BadInputError(message)
    if spec.input_type is InputType.TENSORS:
        return encode_tensors(_declared(spec, tensors)), TENSOR, count
    if spec.input_type is InputType.JSON:
        return _json_rows(tensors, count)
    array = _one_input(spec, tensors)
    if array.dtype.kind == "O":
        return encode_tensors({"input": array}), TENSOR, count
    return tensor_head("input", spec.input_type.datatype or "", array.shape) + array.tobytes(), TENSOR, count


def _declared(spec: ModelSpec, tensors: dict[str, Array]) -> dict[str, Array]:
    if not spec.inputs:
        return tensors
    names = {known.name for known in spec.inputs}
    if tensors.keys() != names:
        message = f"model {spec.name} takes inputs {sorted(names)}, got {sorted(tensors)[:_SHOWN]}"
        raise BadInputError(message)
    for known in spec.inputs:
        shape = tensors[known.name].shape
        fits = len(shape) == len(known.shape) and all(
            want < 0 or want == got for want, got in zip(known.shape, shape, strict=True)
        )
        if not fits:
            want, got = list(known.shape), list(shape)
            message = f"model {spec.name} takes input {known.name!r} of shape {want} (-1: any size), got {got}"
            raise BadInputError(message)
    return tensors


def _one_input(spec: ModelSpec, tensors: dict[str, Array]) -> Array:
    kind = spec.input_type
    shape = "(rows, n)" if kind.is_numeric else "(rows,) or (rows, 1)"
    if len(tensors) != 1:
        message = f"model {spec.name} takes one input of {kind.datatype} and shape {shape}, got {len(tensors)} inputs"
        raise BadInputError(message)
    ((name, array),) = tensors.items()
    fits = array.ndim == 2 if kind.is_numeric else array.size == len(array)
    if not fits or (array.dtype.kind == "O") == kind.is_numeric:
        got = f"{array.dtype if array.dtype.kind != 'O' else 'BYTES'} of shape {list(array.shape)}"
        message = f"model {spec.name} takes {kind.datatype} of shape {shape}; input {name!r} is {got}"
        raise BadInputError(message)
    if kind.is_numeric:
        return _as_numbers(spec, name, array)
    if kind is InputType.STRINGS:
        _check_text(name, array)
    return array


def _check_text(name: str, array: Array) -> None:
    for index, element in enumerate(array.ravel().tolist()):
        try:
            element.decode()
        except UnicodeDecodeError as error:
            message = f"input {name!r}, row {index}: expected UTF-8 text: {error}"
            raise BadInputError(message) from None


def _as_numbers(spec: ModelSpec, name: str, array: Array) -> Array:
    declared = spec.inputs[0].shape if len(spec.inputs) == 1 else ()
    if len(declared) == 2 and declared[1] >= 0 and declared[1] != array.shape[1]:
        message = f"model {spec.name} takes {declared[1]} numbers in a row, input {name!r} has {array.shape[1]}"
        raise BadInputError(message)
    dtype = dtype_of(spec.input_type.datatype or "")
    if array.dtype == dtype:
        return array
    if dtype.kind == "i":
        _check_integers(spec, name, array)
    try:
        with np.errstate(over="raise"):  # an infinity stays one; a number must not become one
            return array.astype(dtype, copy=False)
    except FloatingPointError:
        message = f"model {spec.name} takes {spec.input_type.datatype}; input {name!r} holds numbers out of its range"
        raise BadInputError(message) from None


def _check_integers(spec: ModelSpec, name: str, array: Array) -> None:
    if array.dtype.kind == "f" and not (np.isfinite(array) & (np.trunc(array) == array)).all():
        message = f"model {spec.name} takes integers; input {name!r} holds other numbers"
        raise BadInputError(message)
    if array.size and (int(array.min()) < -(2**31) or int(array.max()) >= 2**31):
        message = f"model {spec.name} takes 32-bit integers; input {name!r} goes beyond"
        raise BadInputError(message)


def _json_rows(tensors: dict[str, Array], count: int) -> tuple[bytes, str, int]:
    array = next(iter(tensors.values()))
    if len(tensors) > 1 or array.dtype.kind != "O" or array.size != count:
        return encode_tensors(tensors), TENSOR, count
    texts = array.ravel().tolist()
    for index, text in enumerate(texts):
        try:
            decode_json(text)
        except DecodeError as error:
            message = f"row {index}: {error}; a json model takes BYTES elements that are JSON texts"
            raise BadInputError(message) from None
    return b"[" + b",".join(texts) + b"]", JSON, count
