"""Clipper's input types, and what becomes of them: from a request's JSON to the payload of a record.

Lenient on numbers (`[1, 2]` is doubles, `[1.0]` is integers), strict on everything else; each refusal names what was
expected. Rows of numbers with one length travel as a tensor named `input`; the rest as JSON rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import JSON, TENSOR, dtype_of, encode_json, encode_tensors, tensor_head
from skysail.topics.specs import InputType, ModelSpec

__all__ = ["Payload", "PredictRequest", "RequestDecoder", "RowEncoder"]

#: Bytes, content type, rows.
Payload = tuple[bytes, str, int]

_ROW_TYPES: dict[InputType, tuple[Any, str]] = {
    InputType.BYTES: (bytes, "a base64 string"),
    InputType.INTEGERS: (list[int], "an array of integers"),
    InputType.FLOATS: (list[float], "an array of numbers"),
    InputType.DOUBLES: (list[float], "an array of numbers"),
    InputType.STRINGS: (str, "a string"),
    InputType.JSON: (Any, "any JSON value"),
    InputType.TENSORS: (
        dict[str, Any],
        "an object of tensors by name, each a (nested) array without the row dimension",
    ),
}
_TYPECODES = {InputType.INTEGERS: "i", InputType.FLOATS: "f", InputType.DOUBLES: "d"}


class PredictRequest(msgspec.Struct):
    """The body of a predict request, of whatever input type."""

    input: Any = msgspec.UNSET
    input_batch: Any = msgspec.UNSET
    version: str | int | None = None


class RequestDecoder:
    """Reads predict requests for one input type."""

    def __init__(self, kind: InputType) -> None:
        self._kind = kind
        row, self._expected = _ROW_TYPES[kind]
        self._decoder = _decoder(row)
        # Integers are tried as such first: a decoder that takes both is slower, and few send 1.0 for 1.
        self._lenient = _decoder(list[int | float]) if kind is InputType.INTEGERS else None

    def decode(self, body: bytes) -> Any:
        """A struct with `input` or `input_batch` (the other is UNSET) and `version`.

        Raises:
            BadInputError: naming what is wrong, where, and what was expected.
        """
        try:
            request = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            request = self._decode_leniently(body, error)
        if (request.input is msgspec.UNSET) == (request.input_batch is msgspec.UNSET):
            both = request.input is not msgspec.UNSET
            raise self._refusal(
                "both input and input_batch are given" if both else "neither input nor input_batch is given"
            )
        if request.input_batch is not msgspec.UNSET and not request.input_batch:
            problem = "input_batch is empty"
            raise self._refusal(problem)
        return request

    def _decode_leniently(self, body: bytes, error: Exception) -> Any:
        if self._lenient is None or not isinstance(error, msgspec.ValidationError):
            raise self._refusal(str(error) or type(error).__name__) from None
        try:
            request = self._lenient.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._refusal(str(error)) from None
        if request.input is not msgspec.UNSET:
            request.input = self._whole(request.input)
        if request.input_batch is not msgspec.UNSET:
            request.input_batch = [self._whole(row) for row in request.input_batch]
        return request

    def _whole(self, row: list[int | float]) -> list[int]:
        for index, number in enumerate(row):
            if not float(number).is_integer():
                problem = f"Expected `int`, got {number} at index {index}"
                raise self._refusal(problem)
        return [int(number) for number in row]

    def _refusal(self, problem: str) -> BadInputError:
        schema = f'{{"input": x}} or {{"input_batch": [x, ...]}}, and optionally "version", with x {self._expected}'
        return BadInputError(f"Error parsing JSON: {problem}. Expected JSON schema: {schema}")


def _decoder(row: Any) -> msgspec.json.Decoder[Any]:
    unset = msgspec.UnsetType
    single, batch = (Any, list[Any]) if row is Any else (row | unset, list[row])
    fields = [
        ("input", single, msgspec.UNSET),
        ("input_batch", batch | unset, msgspec.UNSET),
        ("version", str | int | None, None),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("PredictRequest", fields, bases=(PredictRequest,)))


class RowEncoder:
    """Turns rows of one input type into payloads for one model version."""

    def __init__(self, kind: InputType, spec: ModelSpec) -> None:
        self._kind = kind
        self._spec = spec
        self._datatype = kind.datatype or ""
        shape = spec.inputs[0].shape if len(spec.inputs) == 1 else ()
        self._width = shape[1] if len(shape) == 2 and shape[1] >= 0 else None
        self._typecode = _TYPECODES.get(kind, "")
        self.encode: Callable[[Sequence[Any]], Payload] = {
            InputType.TENSORS: self._tensors,
        }.get(kind, self._numbers if kind.is_numeric else self._json)

    def _numbers(self, rows: Sequence[Any]) -> Payload:
        width = len(rows[0])
        if self._width is not None:
            self._check_widths(rows)
        if len(rows) == 1:
            raw = self._pack(rows[0])
        elif all(len(row) == width for row in rows):
            raw = self._pack(chain.from_iterable(rows))
        else:
            return encode_json(list(rows)), JSON, len(rows)
        return tensor_head("input", self._datatype, (len(rows), width)) + raw, TENSOR, len(rows)

    def _pack(self, numbers: Any) -> bytes:
        if self._kind is InputType.FLOATS:
            return self._pack_floats(numbers)
        try:
            return array(self._typecode, numbers).tobytes()
        except OverflowError:
            message = "an integer is out of range: expected 32-bit integers, from -2147483648 to 2147483647"
            raise BadInputError(message) from None

    @staticmethod
    def _pack_floats(numbers: Any) -> bytes:
        wide = np.fromiter(numbers, np.float64)
        with np.errstate(over="ignore"):
            narrow = wide.astype("<f4")
        if not np.isfinite(narrow).all():
            message = "a number is out of range: expected 32-bit floats, of magnitude up to 3.4e38"
            raise BadInputError(message)
        return narrow.tobytes()

    def _check_widths(self, rows: Sequence[Any]) -> None:
        for index, row in enumerate(rows):
            if len(row) != self._width:
                where = f" at input_batch[{index}]" if len(rows) > 1 else ""
                message = f"model {self._spec.name} takes {self._width} numbers in a row, got {len(row)}{where}"
                raise BadInputError(message)

    def _json(self, rows: Sequence[Any]) -> Payload:
        return encode_json(list(rows)), JSON, len(rows)

    def _tensors(self, rows: Sequence[Any]) -> Payload:
        known = {tensor.name: tensor for tensor in self._spec.inputs}
        names = known or dict.fromkeys(rows[0])
        columns = {}
        for name in names:
            dtype = dtype_of(known[name].datatype) if name in known else None
            columns[name] = self._column(name, rows, dtype)
        return encode_tensors(columns), TENSOR, len(rows)

    def _column(self, name: str, rows: Sequence[Any], dtype: Any) -> Any:
        try:
            column = np.array([row[name] for row in rows], dtype)
        except KeyError:
            names = ", ".join(tensor.name for tensor in self._spec.inputs)
            message = f"tensor {name!r} is missing; model {self._spec.name} takes {names}"
            raise BadInputError(message) from None
        except (ValueError, TypeError, OverflowError) as error:
            message = f"tensor {name!r} is not an array of one shape and type: {error}"
            raise BadInputError(message) from None
        if column.dtype.kind == "O" and dtype is None:
            message = f"tensor {name!r} is not an array of numbers, booleans or strings of one shape"
            raise BadInputError(message)
        return column
