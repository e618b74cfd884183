"""Open Inference Protocol v2 requests on the wire: JSON, binary tensors, or both.

Binary tensor data extension: the body is JSON, then the raw bytes of each tensor that carries a `binary_data_size`, in
order; `Inference-Header-Content-Length` says where the JSON ends. Length 0 means a raw request: one input, all bytes.
"""

from __future__ import annotations

from math import prod
from typing import Any

import msgspec
import numpy as np

from skysail.frontend.tensors import MOST_DIMENSIONS, array_from_json, reshaped
from skysail.topics.errors import BadInputError, DecodeError
from skysail.topics.payloads import Array, dtype_of, unpack_bytes_elements
from skysail.topics.specs import TensorSpec

__all__ = ["InferRequest", "OutputWanted", "TensorIn", "decode_request", "parameter", "tensors_of"]

_Parameters = dict[str, Any]


class TensorIn(msgspec.Struct):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = msgspec.UNSET
    parameters: _Parameters | None = None


class OutputWanted(msgspec.Struct):
    """One output that a request asks for."""

    name: str
    parameters: _Parameters | None = None


class InferRequest(msgspec.Struct):
    """An inference request."""

    inputs: list[TensorIn]
    id: str | None = None
    parameters: _Parameters | None = None
    outputs: list[OutputWanted] | None = None


_decoder = msgspec.json.Decoder(InferRequest)
_EXPECTED = (
    'expected {"inputs": [{"name", "shape", "datatype", "data"}, ...]}, and optionally "id", "parameters", "outputs"'
)


def parameter(parameters: _Parameters | None, name: str, kind: type[Any]) -> Any:
    """A parameter of a request or tensor, or None when absent.

    Raises:
        BadInputError: when it is of another type.
    """
    value = (parameters or {}).get(name)
    if value is not None and type(value) is not kind:  # True is an int to isinstance
        message = f"parameter {name!r} is {value!r}: expected {kind.__name__}"
        raise BadInputError(message)
    return value


def decode_request(
    body: bytes, header_length: int | None, inputs: tuple[TensorSpec, ...]
) -> tuple[InferRequest, bytes]:
    """The request, and the binary part behind it.

    Args:
        body: decompressed.
        header_length: of the JSON; None: all of it; 0: a raw request.
        inputs: what the model takes, for a raw request.

    Raises:
        BadInputError: saying what is wrong and what was expected.
    """
    if header_length == 0:
        return _raw_request(body, inputs)
    end = len(body) if header_length is None else header_length
    if end > len(body):
        message = f"Inference-Header-Content-Length is {end}, the body has {len(body)} bytes"
        raise BadInputError(message)
    try:
        return _decoder.decode(body[:end]), body[end:]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"not a valid inference request: {error}; {_EXPECTED}"
        raise BadInputError(message) from None


def _raw_request(body: bytes, inputs: tuple[TensorSpec, ...]) -> tuple[InferRequest, bytes]:
    if len(inputs) != 1:
        message = f"a raw binary request needs a model that declares one input, this one declares {len(inputs)}"
        raise BadInputError(message)
    spec = inputs[0]
    if spec.datatype == "BYTES":
        shape = [1] * len(spec.shape)
        body = len(body).to_bytes(4, "little") + body
    else:
        shape = [1, *_determined(spec, len(body))]
    tensor = TensorIn(spec.name, shape, spec.datatype, parameters={"binary_data_size": len(body)})
    return InferRequest([tensor], parameters={"binary_data_output": True}), body


def _determined(spec: TensorSpec, size: int) -> list[int]:
    """The shape of one row, with its one variable dimension as the body's size says."""
    row = spec.shape[1:]
    known = prod(length for length in row if length >= 0) * dtype_of(spec.datatype).itemsize
    variable = sum(length < 0 for length in row)
    if variable > 1 or (variable and not known):
        message = f"a raw binary request leaves shape {list(spec.shape)} undetermined"
        raise BadInputError(message)
    return [size // known if length < 0 else length for length in row]


def tensors_of(request: InferRequest, binary: bytes) -> dict[str, Array]:
    """The request's inputs as arrays, in order.

    Raises:
        BadInputError: naming the tensor and what does not fit.
    """
    if not request.inputs:
        message = f"inputs is empty; {_EXPECTED}"
        raise BadInputError(message)
    tensors: dict[str, Array] = {}
    position = 0
    for tensor in request.inputs:
        if tensor.name in tensors:
            message = f"input {tensor.name!r} is given twice"
            raise BadInputError(message)
        try:
            array, position = _array_of(tensor, binary, position)
        except (BadInputError, DecodeError) as error:
            message = f"input {tensor.name!r}: {error}"
            raise BadInputError(message) from None
        tensors[tensor.name] = array
    if position != len(binary):
        message = f"{len(binary)} bytes follow the JSON, the inputs' binary_data_size add up to {position}"
        raise BadInputError(message)
    return tensors


def _array_of(tensor: TensorIn, binary: bytes, position: int) -> tuple[Array, int]:
    if not 1 <= len(tensor.shape) <= MOST_DIMENSIONS or any(length < 0 for length in tensor.shape):
        shown = tensor.shape[:MOST_DIMENSIONS]
        message = f"shape {shown}: expected the row count and at most {MOST_DIMENSIONS - 1} more, none negative"
        raise BadInputError(message)
    size = parameter(tensor.parameters, "binary_data_size", int)
    if size is not None:
        if tensor.data is not msgspec.UNSET:
            message = "it has both data and binary_data_size"
            raise BadInputError(message)
        return _from_binary(tensor, binary, position, size), position + size
    if tensor.data is msgspec.UNSET:
        message = "it has neither data nor binary_data_size"
        raise BadInputError(message)
    return reshaped(array_from_json(tensor.data, tensor.datatype), tuple(tensor.shape)), position


def _from_binary(tensor: TensorIn, binary: bytes, position: int, size: int) -> Array:
    if not 0 <= size <= len(binary) - position:
        message = f"binary_data_size is {size}, {len(binary) - position} bytes are left of the body"
        raise BadInputError(message)
    count = prod(tensor.shape)
    part = binary[position : position + size]
    dtype = dtype_of(tensor.datatype)
    if dtype.kind == "O":
        elements, end = unpack_bytes_elements(part, 0, count)
        if end != size:
            message = f"its {count} elements end at byte {end} of {size}"
            raise BadInputError(message)
        return reshaped(elements, tuple(tensor.shape))
    if size != count * dtype.itemsize:
        message = f"shape {tensor.shape} wants {count * dtype.itemsize} bytes, binary_data_size is {size}"
        raise BadInputError(message)
    return reshaped(np.frombuffer(part, dtype), tuple(tensor.shape))
