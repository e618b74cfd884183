"""Open Inference Protocol v2 on the wire: requests and answers as JSON, binary tensors, or both; compressed or not.

Binary tensor data extension: the body is JSON, then the raw bytes of each tensor that carries a `binary_data_size`, in
order; `Inference-Header-Content-Length` says where the JSON ends. Length 0 means a raw request: one input, all bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod
from typing import Any

import msgspec
import numpy as np

from skysail.topics.errors import BadInputError, DecodeError, PayloadTooLargeError
from skysail.topics.payloads import (
    Array,
    datatype_of,
    dtype_of,
    pack_bytes_elements,
    to_jsonable,
    unpack_bytes_elements,
)
from skysail.topics.specs import TensorSpec

__all__ = ["InferRequest", "decode_request", "decompress", "encode_response", "tensors_of"]

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
    """An inference request; `binary` is what follows the JSON."""

    inputs: list[TensorIn]
    id: str | None = None
    parameters: _Parameters | None = None
    outputs: list[OutputWanted] | None = None

    def parameter(self, name: str, kind: type[Any]) -> Any:
        """A request parameter, or None when absent.

        Raises:
            BadInputError: when it is of another type.
        """
        value = (self.parameters or {}).get(name)
        if value is not None and not isinstance(value, kind):
            message = f"parameter {name!r} is {value!r}: expected {kind.__name__}"
            raise BadInputError(message)
        return value


_decoder = msgspec.json.Decoder(InferRequest)
_EXPECTED = (
    'expected {"inputs": [{"name", "shape", "datatype", "data"}, ...]}, and optionally "id", "parameters", "outputs"'
)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding, reading no more than `limit` bytes out of it.

    Raises:
        BadInputError: for another encoding, or bytes that are not in it.
        PayloadTooLargeError: when more would come out.
    """
    if encoding not in ("gzip", "deflate"):
        message = f"content-encoding {encoding!r}: expected gzip or deflate"
        raise BadInputError(message)
    # 32: gzip or zlib, whichever the header says
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unzip.decompress(body, limit + 1)
    except zlib.error as error:
        message = f"the body is not {encoding}: {error}"
        raise BadInputError(message) from None
    if len(plain) > limit or unzip.unconsumed_tail:
        message = f"the request body is larger than {limit} bytes when decompressed"
        raise PayloadTooLargeError(message)
    if not unzip.eof:
        message = f"the {encoding} body is cut short"
        raise BadInputError(message)
    return plain


def decode_request(
    body: bytes, header_length: int | None, inputs: tuple[TensorSpec, ...]
) -> tuple[InferRequest, bytes]:
    """The request, and the binary part behind it.

    Args:
        body: decompressed.
        header_length: of the JSON; None: all of it; 0: a raw request.
        inputs: what the model declares, for a raw request.

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
    row = [size for size in spec.shape[1:] if size >= 0]
    if spec.datatype == "BYTES":
        shape = [1, *([1] * (len(spec.shape) - 1))]
        body = len(body).to_bytes(4, "little") + body
    elif len(row) == len(spec.shape) - 1:
        shape = [1, *row]
    elif len(row) == len(spec.shape) - 2:
        known = prod(row) * dtype_of(spec.datatype).itemsize
        shape = [1, *(len(body) // known if size < 0 else size for size in spec.shape[1:])]
    else:
        message = f"a raw binary request leaves shape {list(spec.shape)} undetermined"
        raise BadInputError(message)
    tensor = TensorIn(spec.name, shape, spec.datatype, parameters={"binary_data_size": len(body)})
    return InferRequest([tensor], parameters={"binary_data_output": True}), body


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
        size = (tensor.parameters or {}).get("binary_data_size")
        if not tensor.shape or any(length < 0 for length in tensor.shape):
            message = f"input {tensor.name!r} has shape {tensor.shape}: expected at least the row count, none negative"
            raise BadInputError(message)
        if size is None:
            tensors[tensor.name] = _from_json(tensor)
        else:
            tensors[tensor.name] = _from_binary(tensor, binary, position, size)
            position += size
    if position != len(binary):
        message = f"{len(binary)} bytes follow the JSON, the inputs' binary_data_size add up to {position}"
        raise BadInputError(message)
    return tensors


def _from_binary(tensor: TensorIn, binary: bytes, position: int, size: Any) -> Array:
    if not isinstance(size, int) or size < 0 or position + size > len(binary):
        there = len(binary) - position
        message = f"input {tensor.name!r} has binary_data_size {size!r}, {there} bytes are left of the body"
        raise BadInputError(message)
    count = prod(tensor.shape)
    part = binary[position : position + size]
    dtype = dtype_of(tensor.datatype)
    if dtype.kind == "O":
        try:
            elements, end = unpack_bytes_elements(part, 0, count)
        except DecodeError as error:
            raise _misfit(tensor, str(error)) from None
        if end != size:
            raise _misfit(tensor, f"its {count} elements end at byte {end} of {size}")
        return elements.reshape(tensor.shape)
    if size != count * dtype.itemsize:
        raise _misfit(tensor, f"shape {tensor.shape} wants {count * dtype.itemsize} bytes, binary_data_size is {size}")
    return np.frombuffer(part, dtype).reshape(tensor.shape)


def _from_json(tensor: TensorIn) -> Array:
    if tensor.data is msgspec.UNSET:
        raise _misfit(tensor, "it has neither data nor binary_data_size")
    if tensor.datatype == "BYTES":
        return _bytes_from_json(tensor)
    dtype = dtype_of(tensor.datatype)
    try:
        array = np.array(tensor.data)
        if array.size and not _fits(array, dtype):
            raise _misfit(tensor, f"its data are not {tensor.datatype}")
        with np.errstate(over="raise"):
            array = array.astype(dtype)
    except (ValueError, TypeError, OverflowError, FloatingPointError) as error:
        raise _misfit(tensor, str(error)) from None
    return _shaped(tensor, array)


def _fits(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether JSON's numbers or booleans keep their values in `dtype`."""
    if array.dtype.kind not in "iufb" or (array.dtype.kind == "b") != (dtype.kind == "b"):
        return False
    if dtype.kind not in "iu":
        return True
    bounds = np.iinfo(dtype)
    whole = array.dtype.kind != "f" or bool((np.mod(array, 1) == 0).all())
    return whole and int(array.min()) >= bounds.min and int(array.max()) <= bounds.max


def _bytes_from_json(tensor: TensorIn) -> Array:
    array = np.array(tensor.data, dtype=object)
    flat = array.ravel().tolist()
    if not all(isinstance(element, str) for element in flat):
        raise _misfit(tensor, "the data of a BYTES tensor are strings")
    elements: Array = np.empty(len(flat), dtype=object)
    elements[:] = [element.encode() for element in flat]
    return _shaped(tensor, elements)


def _shaped(tensor: TensorIn, array: Array) -> Array:
    if array.size != prod(tensor.shape):
        raise _misfit(tensor, f"shape {tensor.shape} wants {prod(tensor.shape)} elements, data hold {array.size}")
    return array.reshape(tensor.shape)


def _misfit(tensor: TensorIn, problem: str) -> BadInputError:
    return BadInputError(f"input {tensor.name!r}: {problem}")


def encode_response(
    request: InferRequest, model: str, version: str, tensors: Mapping[str, Array]
) -> tuple[bytes, int | None]:
    """The response's body, and the length of its JSON when binary tensors follow.

    Raises:
        BadInputError: when the request asks for an output that the model does not have.
    """
    all_binary = bool(request.parameter("binary_data_output", bool))
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, parameters in _wanted(request, tensors):
        array = tensors[name]
        datatype = datatype_of(array)
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if bool(parameters.get("binary_data", all_binary)):
            parts.append(pack_bytes_elements(array) if datatype == "BYTES" else _little_endian(array, datatype))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = _plain(array, datatype)
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if request.id is not None:
        answer["id"] = request.id
    text = msgspec.json.encode(answer)
    return (b"".join((text, *parts)), len(text)) if parts else (text, None)


def _wanted(request: InferRequest, tensors: Mapping[str, Array]) -> list[tuple[str, _Parameters]]:
    if not request.outputs:
        return [(name, {}) for name in tensors]
    for output in request.outputs:
        if output.name not in tensors:
            message = f"output {output.name!r} is not among the model's: {', '.join(tensors)}"
            raise BadInputError(message)
    return [(output.name, output.parameters or {}) for output in request.outputs]


def _little_endian(array: Array, datatype: str) -> bytes:
    return np.ascontiguousarray(array, dtype_of(datatype)).tobytes()


def _plain(array: Array, datatype: str) -> Any:
    flat = array.ravel().tolist()
    if datatype == "BYTES":
        return [element.decode("utf-8", "replace") if isinstance(element, bytes) else str(element) for element in flat]
    return to_jsonable(flat)
