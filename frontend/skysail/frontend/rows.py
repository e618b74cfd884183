"""From rows of one input type to the payload of a record for one model version.

Rows of numbers with one length travel as a tensor named `input`; the rest as JSON rows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from skysail.frontend.tensors import array_from_json
from skysail.topics.errors import BadInputError
from skysail.topics.payloads import JSON, TENSOR, Array, encode_json, encode_tensors, row_packer, tensor_head
from skysail.topics.specs import InputType, ModelSpec, TensorSpec

__all__ = ["Payload", "RowEncoder"]

#: Bytes, content type, rows.
Payload = tuple[bytes, str, int]

#: How `struct` calls the elements, and what fits into one.
_ELEMENTS = {
    InputType.INTEGERS: ("i", "integers from -2147483648 to 2147483647"),
    InputType.FLOATS: ("f", "32-bit floats, up to 3.4e38"),
    InputType.DOUBLES: ("d", "64-bit floats"),
}


class RowEncoder:
    """Turns rows into payloads.

    Attributes:
        encode: takes the rows and the index of the first one in its request, for the text of a refusal; returns their
            payload. Raises BadInputError, naming the row and what was expected.
    """

    def __init__(self, kind: InputType, spec: ModelSpec) -> None:
        self._spec = spec
        self._datatype = kind.datatype or ""
        shape = spec.inputs[0].shape if len(spec.inputs) == 1 else ()
        self._width = shape[1] if len(shape) == 2 and shape[1] >= 0 else None
        self._element, self._expected = _ELEMENTS.get(kind, ("", ""))
        self.encode: Callable[[Sequence[Any], int], Payload]
        if kind.is_numeric:
            self.encode = self._numbers
        else:
            self.encode = self._tensors if kind is InputType.TENSORS else self._json

    def _numbers(self, rows: Sequence[Any], first: int) -> Payload:
        if self._width is not None:
            self._check_widths(rows, first)
        width = len(rows[0])
        if len(rows) == 1:
            raw = self._packed(rows[0], first)
        else:
            packed = [self._packed(row, index) for index, row in enumerate(rows, first)]
            if any(len(row) != width for row in rows):
                return encode_json(list(rows)), JSON, len(rows)
            raw = b"".join(packed)
        return tensor_head("input", self._datatype, (len(rows), width)) + raw, TENSOR, len(rows)

    def _packed(self, row: Sequence[Any], index: int) -> bytes:
        try:
            return row_packer(self._element, len(row))(*row)
        except (struct.error, OverflowError):
            message = f"row {index} holds a number that is out of range: expected {self._expected}"
            raise BadInputError(message) from None

    def _check_widths(self, rows: Sequence[Any], first: int) -> None:
        for index, row in enumerate(rows, first):
            if len(row) != self._width:
                message = f"model {self._spec.name} takes {self._width} numbers in a row, row {index} has {len(row)}"
                raise BadInputError(message)

    def _json(self, rows: Sequence[Any], first: int) -> Payload:
        try:
            return encode_json(list(rows)), JSON, len(rows)
        except RecursionError:  # what can just be read may be too deep to be written
            message = f"a row is nested too deeply, {first} or behind"
            raise BadInputError(message) from None

    # ------------------------------------------------------------------------------------------------ tensors

    def _tensors(self, rows: Sequence[Any], first: int) -> Payload:
        known = {tensor.name: tensor for tensor in self._spec.inputs}
        names = known.keys() or rows[0].keys()
        for index, row in enumerate(rows, first):
            if row.keys() != names:
                message = f"model {self._spec.name} takes tensors {_listed(names)}, row {index} has {_listed(row)}"
                raise BadInputError(message)
        if not names:
            message = f"row {first} holds no tensors: expected at least one"
            raise BadInputError(message)
        return encode_tensors({name: self._column(name, rows, known.get(name)) for name in names}), TENSOR, len(rows)

    @staticmethod
    def _column(name: str, rows: Sequence[Any], known: TensorSpec | None) -> Array:
        try:
            column = array_from_json([row[name] for row in rows], known.datatype if known else None)
        except BadInputError as error:
            message = f"tensor {name!r}: {error}"
            raise BadInputError(message) from None
        if known is not None:
            fits = column.ndim == len(known.shape) and all(
                want in (-1, got) for want, got in zip(known.shape[1:], column.shape[1:], strict=True)
            )
            if not fits:
                want, got = list(known.shape[1:]), list(column.shape[1:])
                message = f"tensor {name!r}: expected shape {want} in each row (-1: any size), got {got}"
                raise BadInputError(message)
        return column


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
