"""From what predict returned to the answer of each query: one output for each row, as JSON or as tensors.

JSON has no NaN and no infinity: both are written as null, as JavaScript's ``JSON.stringify`` and msgspec do. Who needs
them asks for tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
import numpy as np

from skysail.topics.errors import BadInputError, ModelError, OutputLengthError
from skysail.topics.kafka.config import MAX_RECORD_BYTES
from skysail.topics.payloads import Array, encode_json_rows, encode_tensors, to_jsonable
from skysail.topics.specs import TensorSpec

__all__ = ["ArrayOutputs", "ListOutputs", "NamedOutputs", "OutputRange", "Outputs", "joined", "outputs_of"]

#: An answer and its headers must fit where queries fit.
LARGEST_ANSWER_BYTES = MAX_RECORD_BYTES - 64 * 1024

_encoder = msgspec.json.Encoder(enc_hook=to_jsonable, order="deterministic")


class ListOutputs:
    """Outputs that are a list of any values."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def json(self, start: int, stop: int) -> bytes:
        """Rows from `start` up to `stop` as a JSON array. Raises ModelError for what JSON cannot hold."""
        return _encode(self.values[start:stop])

    def tensors(self, start: int, stop: int) -> bytes | None:
        """None: these outputs have no tensor form."""
        del start, stop
        return None


class ArrayOutputs:
    """Outputs that are one array. For JSON the whole batch is turned into Python values once."""

    def __init__(self, array: Array, name: str) -> None:
        self.array = array
        self.name = name
        self._values: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.array)

    def json(self, start: int, stop: int) -> bytes:
        """Rows from `start` up to `stop` as a JSON array. Raises ModelError for what JSON cannot hold."""
        values = self._values
        if values is None:
            values = self._values = self.array.tolist()
        return _encode(values[start:stop])

    def tensors(self, start: int, stop: int) -> bytes | None:
        """Rows from `start` up to `stop` as one tensor; None for a dtype that has no tensor form."""
        return _tensors({self.name: self.array[start:stop]})


class NamedOutputs:
    """Outputs that are arrays by name; a row of JSON is an object."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        self._values: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def json(self, start: int, stop: int) -> bytes:
        """Rows from `start` up to `stop` as a JSON array. Raises ModelError for what JSON cannot hold."""
        if self._values is None:
            columns = [array.tolist() for array in self.arrays.values()]
            self._values = [dict(zip(self.arrays, row, strict=True)) for row in zip(*columns, strict=True)]
        return _encode(self._values[start:stop])

    def tensors(self, start: int, stop: int) -> bytes | None:
        """Rows from `start` up to `stop` as tensors; None where a dtype has no tensor form."""
        return _tensors({name: array[start:stop] for name, array in self.arrays.items()})


Outputs = ListOutputs | ArrayOutputs | NamedOutputs


class OutputRange:
    """Some rows of a call's outputs: what bisection hands to each query."""

    __slots__ = ("outputs", "start", "stop")

    def __init__(self, outputs: Outputs, start: int, stop: int) -> None:
        self.outputs = outputs
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, rows: slice, /) -> Self:
        return type(self)(self.outputs, self.start + rows.start, self.start + rows.stop)

    def json(self) -> bytes:
        """The rows as a JSON array. Raises ModelError for what JSON cannot hold."""
        return self.outputs.json(self.start, self.stop)

    def tensors(self) -> bytes | None:
        """The rows as tensors; None where the outputs have no tensor form."""
        return self.outputs.tensors(self.start, self.stop)


def outputs_of(result: Any, rows: int, declared: tuple[TensorSpec, ...] = ()) -> Outputs:
    """Understand what predict returned.

    Args:
        result: a list or tuple, an array (or what numpy can view as one), or a mapping of arrays.
        rows: rows that predict was given.
        declared: the model's outputs; the first gives a lone array its name.

    Raises:
        OutputLengthError: naming both numbers.
        ModelError: when the result is none of these.
    """
    outputs = _understand(result, rows, declared[0].name if declared else "output")
    if len(outputs) != rows:
        raise OutputLengthError(rows, len(outputs))
    return outputs


def joined(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several calls, in order, as those of one."""
    if all(isinstance(part, ArrayOutputs) for part in parts):
        arrays = [part.array for part in parts if isinstance(part, ArrayOutputs)]
        return ArrayOutputs(np.concatenate(arrays), parts[0].name if isinstance(parts[0], ArrayOutputs) else "output")
    if all(isinstance(part, NamedOutputs) for part in parts):
        named = [part.arrays for part in parts if isinstance(part, NamedOutputs)]
        return NamedOutputs({name: np.concatenate([arrays[name] for arrays in named]) for name in named[0]})
    lists = [part.values for part in parts if isinstance(part, ListOutputs)]
    if len(lists) != len(parts):
        message = "predict returned different kinds of outputs for the parts of one query"
        raise ModelError(message)
    return ListOutputs([value for values in lists for value in values])


def _understand(result: Any, rows: int, name: str) -> Outputs:
    if isinstance(result, list | tuple):
        return _from_list(list(result), name)
    if isinstance(result, Mapping):
        return _from_mapping(result, rows)
    array = _as_array(result)
    if array is None or array.ndim == 0:
        message = f"predict returned {type(result).__name__}: expected a list or array with one output for each row"
        raise ModelError(message)
    return ArrayOutputs(array, name)


def _from_list(values: list[Any], name: str) -> Outputs:
    # One array a row, all alike (a common habit): the same as one array.
    first = values[0] if values else None
    if isinstance(first, np.ndarray) and all(
        isinstance(value, np.ndarray) and value.shape == first.shape and value.dtype == first.dtype for value in values
    ):
        return ArrayOutputs(np.stack(values), name)
    return ListOutputs(values)


def _from_mapping(result: Mapping[Any, Any], rows: int) -> NamedOutputs:
    arrays: dict[str, Array] = {}
    for key, value in result.items():
        array = np.asarray(value) if isinstance(value, list | tuple) else _as_array(value)
        if array is None or array.ndim == 0:
            message = f"predict returned {type(value).__name__} as named output {key!r}: expected an array"
            raise ModelError(message)
        if len(array) != rows:
            raise OutputLengthError(rows, len(array))
        arrays[str(key)] = array
    if not arrays:
        message = "predict returned a mapping without outputs"
        raise ModelError(message)
    return NamedOutputs(arrays)


def _as_array(value: Any) -> Array | None:
    if isinstance(value, np.ndarray):
        return value
    # Series, data frames and tensors of other libraries offer numpy's protocol; str and generators do not.
    return np.asarray(value) if hasattr(value, "__array__") else None


def _encode(rows: list[Any]) -> bytes:
    try:
        return _encoder.encode(rows)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _encode_leniently(rows)


def _encode_leniently(rows: list[Any]) -> bytes:
    """Also keys that are no strings. Not tried first: it walks every value in Python."""
    try:
        return encode_json_rows(to_jsonable(rows))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        message = f"an output has no JSON form: {error}"
        raise ModelError(message) from None


def _tensors(arrays: dict[str, Array]) -> bytes | None:
    if any(array.dtype.kind == "O" and not _all_text(array) for array in arrays.values()):
        return None
    try:
        return encode_tensors(arrays)
    except BadInputError:  # a dtype without an OIP datatype
        return None


def _all_text(array: Array) -> bool:
    return all(isinstance(element, str | bytes) for element in array.ravel().tolist())
