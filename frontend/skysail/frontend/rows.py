"""From rows of one input type to the payload of a record for one model version.

Rows of numbers with one length travel as a tensor named `input`; the rest as JSON rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from skysail.frontend.tensors import array_from_json
from skysail.topics.errors import BadInputError
from skysail.topics.payloads import JSON, TENSOR, Array, encode_json, encode_tensors, tensor_head
from skysail.topics.specs import InputType, ModelSpec, TensorSpec

__all__ = ["Payload", "RowEncoder"]

#: Bytes, content type, rows.
Payload = tuple[bytes, str, int]

_TYPECODES = {InputType.INTEGERS: "i", InputType.DOUBLES: "d"}


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
        self._typecode = _TYPECODES.get(kind)
        self.encode: Callable[[Sequence[Any], int], Payload]
        if kind.is_numeric:
            self.encode = self._numbers
        else:
            self.encode = self._tensors if kind is InputType.TENSORS else self._json

    def _numbers(self, rows: Sequence[Any], first: int) -> Payload:
        width = len(rows[0])
        if self._width is not None:
            self._check_widths(rows, first)
        if len(rows) == 1:
            raw = self._packed(rows[0], first)
        elif all(len(row) == width for row in rows):
            raw = self._packed(chain.from_iterable(rows), first)
        else:
            for index, row in enumerate(rows, first):
                self._packed(row, index)
            return encode_json(list(rows)), JSON, len(rows)
        return tensor_head("input", self._datatype, (len(rows), width)) + raw, TENSOR, len(rows)

    def _packed(self, numbers: Any, first: int) -> bytes:
        if self._typecode is None:
            return self._packed_floats(numbers, first)
        try:
            return array(self._typecode, numbers).tobytes()
        except OverflowError:
            message = f"an integer is out of range, in row {first} or behind: expected -2147483648 to 2147483647"
            raise BadInputError(message) from None

    @staticmethod
    def _packed_floats(numbers: Any, first: int) -> bytes:
        wide = np.fromiter(numbers, np.float64)
        with np.errstate(over="ignore"):
            narrow = wide.astype("<f4")
        if not np.isfinite(narrow).all():
            message = f"a number is out of range, in row {first} or behind: expected 32-bit floats, up to 3.4e38"
            raise BadInputError(message)
        return narrow.tobytes()

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
