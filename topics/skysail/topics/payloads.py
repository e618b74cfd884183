"""Payloads: what a record's value or a reply's value holds. JSON rows, or raw tensors; never a pickle.

``application/json``
    A JSON array of rows (or, from a producer that sent no row count, one bare JSON value: a single row).

``application/x-skysail-tensor``
    ``uint32 LE`` length of a JSON header, the header, then each tensor's bytes in the header's order. The header is
    an array of ``{"name", "datatype", "shape"}`` with the Open Inference Protocol's datatypes; the first dimension of
    every tensor is the row count. Data is row-major and little-endian; a BYTES element is a ``uint32 LE`` length and
    its bytes (OIP v2, binary tensor data extension).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from skysail.topics.errors import BadInputError, DecodeError

__all__ = [
    "JSON",
    "TENSOR",
    "Array",
    "TensorHeader",
    "datatype_of",
    "decode_json",
    "decode_tensors",
    "dtype_of",
    "encode_json",
    "encode_json_rows",
    "encode_tensors",
    "pack_bytes_elements",
    "row_packer",
    "tensor_head",
    "to_jsonable",
    "unpack_bytes_elements",
]

JSON = "application/json"
TENSOR = "application/x-skysail-tensor"

Array = npt.NDArray[Any]

_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
_DATATYPES = {dtype: name for name, dtype in _DTYPES.items()}
_LENGTH = struct.Struct("<I")
#: Longer headers are not cached: they come from the wire, and must not fill the memory.
_MAX_CACHED_HEADER_BYTES = 1024


class TensorHeader(msgspec.Struct, frozen=True):
    """One tensor's entry in a tensor payload's header. ``shape[0]`` is the row count."""

    name: str
    datatype: str
    shape: tuple[int, ...]


_encode_json = msgspec.json.Encoder(order="deterministic")
_decode_header = msgspec.json.Decoder(tuple[TensorHeader, ...])
_decode_any = msgspec.json.Decoder()


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of an OIP datatype; BYTES is the object dtype.

    Raises:
        BadInputError: when there is no such datatype.
    """
    try:
        return _DTYPES[datatype]
    except KeyError:
        message = f"unknown datatype {datatype!r}: expected one of {', '.join(_DTYPES)}"
        raise BadInputError(message) from None


def datatype_of(array: Array) -> str:
    """The OIP datatype of an array; strings and objects are BYTES.

    Raises:
        BadInputError: for a dtype that OIP has no name for (complex, datetime, …).
    """
    found = _DATATYPES.get(array.dtype)
    if found is not None:
        return found
    if array.dtype.kind in "SUO":
        return "BYTES"
    found = _DATATYPES.get(array.dtype.newbyteorder("<"))
    if found is None:
        message = f"dtype {array.dtype} has no Open Inference Protocol datatype"
        raise BadInputError(message)
    return found


def encode_json(value: object) -> bytes:
    """Compact JSON; keys sorted, so that equal values give equal bytes (the cache key depends on it).

    JSON has no NaN and no infinities: they are written as null, and refused when read.
    """
    return _encode_json.encode(value)


def encode_json_rows(rows: list[Any]) -> bytes:
    """A JSON array with one element for each row, numpy values included."""
    try:
        return _encode_json.encode(rows)
    except TypeError:
        return _encode_json.encode(to_jsonable(rows))


def decode_json(data: bytes) -> Any:
    """Any JSON value.

    Raises:
        DecodeError: saying where the JSON breaks.
    """
    try:
        return _decode_any.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"not valid JSON: {error}"
        raise DecodeError(message, data) from None
    except RecursionError:
        message = "not valid JSON: nested too deeply"
        raise DecodeError(message, data) from None


def to_jsonable(value: Any) -> Any:
    """Turn numpy arrays and scalars inside lists, tuples and dicts into plain Python values; bytes into base64 text.

    Raises:
        TypeError: naming a type that JSON cannot hold.
    """
    if isinstance(value, np.ndarray):
        return to_jsonable(value.tolist()) if value.dtype == object else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # pandas columns, torch tensors on the CPU
        return to_jsonable(value.tolist())
    return msgspec.to_builtins(value)


@lru_cache(maxsize=1024)
def row_packer(element: str, width: int) -> Callable[..., bytes]:
    """Packs so many numbers (`struct`'s element, little-endian) faster than `array` or numpy take them from a list.

    What it returns raises `struct.error` or OverflowError for a number that does not fit.
    """
    return struct.Struct(f"<{width}{element}").pack


@lru_cache(maxsize=4096)
def tensor_head(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    """Length and header of a payload of one tensor; its raw bytes follow. Cached: traffic repeats few shapes."""
    return _head([TensorHeader(name, datatype, shape)])


def _head(headers: list[TensorHeader]) -> bytes:
    text = msgspec.json.encode(headers)
    return _LENGTH.pack(len(text)) + text


def encode_tensors(tensors: Mapping[str, Array]) -> bytes:
    """Pack named arrays, whose first dimension is the row count, into one tensor payload."""
    headers: list[TensorHeader] = []
    parts: list[bytes] = []
    for name, array in tensors.items():
        datatype = datatype_of(array)
        headers.append(TensorHeader(name, datatype, array.shape))
        if datatype == "BYTES":
            parts.append(pack_bytes_elements(array))
        else:
            parts.append(np.ascontiguousarray(array, _DTYPES[datatype]).tobytes())
    return b"".join((_head(headers), *parts))


def decode_tensors(data: bytes) -> dict[str, Array]:
    """Unpack a tensor payload. Arrays of fixed-size datatypes are read-only views into `data`.

    Raises:
        DecodeError: when header and bytes do not agree.
    """
    headers, position = _read_head(data)
    tensors: dict[str, Array] = {}
    for header in headers:
        if header.name in tensors:
            message = f"two tensors are named {header.name!r}"
            raise DecodeError(message, data)
        tensors[header.name], position = _read_tensor(header, data, position)
    if position != len(data):
        message = f"tensor payload has {len(data) - position} bytes too many"
        raise DecodeError(message, data)
    return tensors


@lru_cache(maxsize=4096)
def _parse_header(text: bytes) -> tuple[TensorHeader, ...]:
    return _decode_header.decode(text)


def _read_head(data: bytes) -> tuple[tuple[TensorHeader, ...], int]:
    if len(data) < _LENGTH.size:
        message = f"tensor payload of {len(data)} bytes is too short for its header's length"
        raise DecodeError(message, data)
    (length,) = _LENGTH.unpack_from(data)
    end = _LENGTH.size + length
    parse = _parse_header if length <= _MAX_CACHED_HEADER_BYTES else _decode_header.decode
    try:
        return parse(data[_LENGTH.size : end]), end
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"tensor payload's header is not valid: {error}"
        raise DecodeError(message, data) from None


def _read_tensor(header: TensorHeader, data: bytes, position: int) -> tuple[Array, int]:
    if any(size < 0 for size in header.shape) or not header.shape:
        message = (
            f"tensor {header.name!r} has shape {list(header.shape)}: expected at least one dimension, none negative"
        )
        raise DecodeError(message, data)
    count = prod(header.shape)
    if header.datatype == "BYTES":
        elements, end = unpack_bytes_elements(data, position, count)
        return _shaped(elements, header, data), end
    dtype = _DTYPES.get(header.datatype)
    if dtype is None:
        message = f"tensor {header.name!r} has unknown datatype {header.datatype!r}"
        raise DecodeError(message, data)
    end = position + count * dtype.itemsize
    if end > len(data):
        wanted, there = end - position, len(data) - position
        message = f"tensor {header.name!r} of shape {list(header.shape)} wants {wanted} bytes, {there} are there"
        raise DecodeError(message, data)
    return _shaped(np.frombuffer(data, dtype, count, position), header, data), end


def _shaped(array: Array, header: TensorHeader, data: bytes) -> Array:
    try:
        return array.reshape(header.shape)
    except ValueError as error:  # more dimensions, or larger ones beside a zero, than numpy has
        message = f"tensor {header.name!r} has an impossible shape: {error}"
        raise DecodeError(message, data) from None


def pack_bytes_elements(array: Array) -> bytes:
    """OIP binary form of BYTES elements, row-major: ``uint32 LE`` length and the bytes, for each."""
    parts: list[bytes] = []
    for element in array.ravel().tolist():
        raw = element if isinstance(element, bytes) else str(element).encode()
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def unpack_bytes_elements(data: bytes, position: int, count: int) -> tuple[Array, int]:
    """Read `count` BYTES elements from `position`: a 1-D object array of bytes, and where it ended.

    Raises:
        DecodeError: when an element runs past the end of the data.
    """
    if count * _LENGTH.size > len(data) - position:
        message = f"BYTES tensor of {count} elements cannot fit into {len(data) - position} bytes"
        raise DecodeError(message, data)
    elements: Array = np.empty(count, dtype=object)
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(data):
            message = f"BYTES tensor ends inside element {index} of {count}"
            raise DecodeError(message, data)
        (length,) = _LENGTH.unpack_from(data, position)
        position = start + length
        if position > len(data):
            message = f"BYTES element {index} of {length} bytes runs past the end of the data"
            raise DecodeError(message, data)
        elements[index] = data[start:position]
    return elements, position
