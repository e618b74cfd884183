"""Arrays from JSON: nested or flat lists of one type, checked value by value before numpy may convert anything.

numpy by itself would turn `[1, "a"]` into text, `[1.5]` into the integer 1, and one long string among many short ones
into gigabytes.
"""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import Any

import numpy as np

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import Array, dtype_of

__all__ = ["MOST_DIMENSIONS", "array_from_json", "reshaped"]

#: numpy 1 takes so many.
MOST_DIMENSIONS = 32
_LARGEST_DIMENSION = 2**31 - 1

_TYPES: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int, float}),
    "u": frozenset({int, float}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}


def array_from_json(data: Any, datatype: str | None = None) -> Array:
    """An array of the shape in which `data` is nested.

    Args:
        data: a JSON value: numbers, booleans or strings, in regularly nested lists.
        datatype: OIP datatype; None: BOOL, INT64, FP64 or BYTES, whichever the values are.

    Raises:
        BadInputError: saying what does not fit.
    """
    flat, shape = _flattened(data)
    types = set(map(type, flat))
    dtype = dtype_of(datatype or _inferred(types))
    strange = types - _TYPES[dtype.kind]
    if strange:
        found = ", ".join(sorted(_json_name(kind) for kind in strange))
        message = f"expected {_json_name(*_TYPES[dtype.kind])} for {datatype}, got {found}"
        raise BadInputError(message)
    array = _converted(flat, types, dtype)
    return array if len(shape) == 1 else reshaped(array, shape)


def _flattened(data: Any) -> tuple[list[Any], tuple[int, ...]]:
    if not isinstance(data, list):
        return [data], ()
    shape, flat = [len(data)], data
    while flat and isinstance(flat[0], list):
        width = len(flat[0])
        if not all(type(item) is list and len(item) == width for item in flat):
            message = "the lists in it are not all of one length"
            raise BadInputError(message)
        shape.append(width)
        flat = list(chain.from_iterable(flat))
    return flat, tuple(shape)


def _inferred(types: set[type]) -> str:
    if types == {bool}:
        return "BOOL"
    if types == {str}:
        return "BYTES"
    if types <= {int, float}:
        return "INT64" if types == {int} else "FP64"
    message = f"expected numbers, booleans or strings, got {', '.join(sorted(map(_json_name, types)))}"
    raise BadInputError(message)


def _json_name(*kinds: type) -> str:
    names = {bool: "booleans", int: "numbers", float: "numbers", str: "strings", list: "lists", dict: "objects"}
    return names.get(kinds[0], "null")


def _converted(flat: list[Any], types: set[type], dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "O":
        elements: Array = np.empty(len(flat), dtype=object)
        elements[:] = [element.encode() for element in flat]
        return elements
    if dtype.kind in "iu":
        return _whole(flat, types, dtype)
    try:
        array = np.array(flat, np.float64 if dtype.kind == "f" else dtype)
        if array.dtype == dtype:
            return array
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except (OverflowError, FloatingPointError):
        message = f"a number is out of range for {dtype}"
        raise BadInputError(message) from None


def _whole(flat: list[Any], types: set[type], dtype: np.dtype[Any]) -> Array:
    if float in types:
        fraction = next((number for number in flat if isinstance(number, float) and not number.is_integer()), None)
        if fraction is not None:
            message = f"expected whole numbers, got {fraction}"
            raise BadInputError(message)
        flat = list(map(int, flat))
    bounds = np.iinfo(dtype)
    if flat and (min(flat) < bounds.min or max(flat) > bounds.max):
        message = f"expected numbers from {bounds.min} to {bounds.max}"
        raise BadInputError(message)
    return np.array(flat, dtype)


def reshaped(array: Array, shape: tuple[int, ...]) -> Array:
    """`array` in another shape of as many elements.

    Raises:
        BadInputError: when there is no such shape, or it wants another number of elements.
    """
    if array.shape == shape:
        return array
    if len(shape) > MOST_DIMENSIONS or any(not 0 <= size <= _LARGEST_DIMENSION for size in shape):
        shown = f"{list(shape[:MOST_DIMENSIONS])}{'…' if len(shape) > MOST_DIMENSIONS else ''}"
        message = f"shape {shown}: expected at most {MOST_DIMENSIONS} dimensions of 0 to {_LARGEST_DIMENSION}"
        raise BadInputError(message)
    if prod(shape) != array.size:
        message = f"shape {list(shape)} wants {prod(shape)} elements, its data hold {array.size}"
        raise BadInputError(message)
    try:
        return array.reshape(shape)
    except ValueError as error:  # a zero beside dimensions that together are larger than numpy can count
        message = f"shape {list(shape)}: {error}"
        raise BadInputError(message) from None
