"""Input type `tensors`: a batch is a dict of arrays whose first dimension is the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import TENSOR, Array, decode_tensors, dtype_of
from skysail.topics.specs import TensorSpec
from skysail.workers.inputs.reader import check_rows, decode_typed
from skysail.workers.work import Work

__all__ = ["TensorsReader"]


class TensorsReader:
    """Reads named tensors; JSON rows are objects from name to nested lists.

    Args:
        inputs: what the model declares; names, datatypes and shapes are checked against it. Empty: anything goes that
            has one row count.
    """

    _row: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
    _rows: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[Any])

    def __init__(self, inputs: tuple[TensorSpec, ...] = ()) -> None:
        self._inputs = {spec.name: spec for spec in inputs}

    def read(self, work: Work) -> None:
        """As in `InputReader`. `layout` is every tensor's name, dtype and shape of a row."""
        query = work.query
        tensors = decode_tensors(query.payload) if query.content_type == TENSOR else self._from_json(work)
        if self._inputs:
            tensors = self._checked(tensors)
        counts = {len(array) for array in tensors.values()}
        if len(counts) != 1:
            message = f"expected tensors with one row count, got {_shapes(tensors)}"
            raise BadInputError(message)
        rows = counts.pop()
        check_rows(query, rows, self_describing=query.content_type == TENSOR)
        work.rows, work.data = rows, tensors
        work.layout = tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(tensors.items()))

    def _checked(self, tensors: dict[str, Array]) -> dict[str, Array]:
        if tensors.keys() != self._inputs.keys():
            message = f"expected tensors {sorted(self._inputs)}, got {sorted(tensors)}"
            raise BadInputError(message)
        return {name: _cast(spec, tensors[name]) for name, spec in self._inputs.items()}

    def _from_json(self, work: Work) -> dict[str, Array]:
        query = work.query
        if query.rows is None:
            rows = [decode_typed(self._row, query.payload, "one row of tensors")]
        else:
            rows = decode_typed(self._rows, query.payload, "a JSON array of rows")
            check_rows(query, len(rows))
        if len(self._inputs) == 1 and not all(isinstance(row, dict) for row in rows):
            (name,) = self._inputs
            rows = [{name: row} for row in rows]
        return self._columns(rows)

    def _columns(self, rows: list[Any]) -> dict[str, Array]:
        names = self._inputs.keys() or (rows[0].keys() if rows and isinstance(rows[0], dict) else ())
        for index, row in enumerate(rows):
            if not isinstance(row, dict) or row.keys() != set(names):
                message = f"expected each row as an object with {sorted(names)}; row {index} is not"
                raise BadInputError(message)
        return {name: self._column(name, [row[name] for row in rows]) for name in names}

    def _column(self, name: str, values: list[Any]) -> Array:
        spec = self._inputs.get(name)
        try:
            # Without a declaration numpy's choice (int64, float64, bool, text) stands.
            array: Array = np.array(values, dtype_of(spec.datatype) if spec else None)
        except (ValueError, TypeError, OverflowError) as error:
            wanted = f"{spec.datatype} of shape {list(spec.shape)}" if spec else "one shape and type in all rows"
            message = f"expected {wanted} for tensor {name!r}: {error}"
            raise BadInputError(message) from None
        return _as_bytes(name, array) if array.dtype.kind in "OSU" else array

    def groups(self, works: Sequence[Work]) -> list[Sequence[Work]]:
        """Works whose tensors have the same names, types and row shapes."""
        first = works[0].layout
        if all(work.layout == first for work in works):
            return [works]
        groups: dict[Any, list[Work]] = {}
        for work in works:
            groups.setdefault(work.layout, []).append(work)
        return list(groups.values())

    def join(self, works: Sequence[Work]) -> dict[str, Array]:
        """Arrays of all rows, writable."""
        return {name: np.concatenate([work.data[name] for work in works]) for name in works[0].data}


def _cast(spec: TensorSpec, array: Array) -> Array:
    dtype = dtype_of(spec.datatype)
    fits = len(array.shape) == len(spec.shape) and all(
        wanted in (-1, found) for wanted, found in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not np.can_cast(array.dtype, dtype, "same_kind") or (dtype.kind == "O") != (array.dtype.kind == "O"):
        message = (
            f"expected {spec.datatype} of shape {list(spec.shape)} for tensor {spec.name!r}, "
            f"got {array.dtype} of shape {list(array.shape)}"
        )
        raise BadInputError(message)
    return array.astype(dtype, copy=False)


def _as_bytes(name: str, array: Array) -> Array:
    """Text as BYTES elements, as they come in a tensor payload."""
    raw: Array = np.empty(array.size, dtype=object)
    for index, element in enumerate(array.ravel().tolist()):
        if not isinstance(element, str):
            message = f"expected text in tensor {name!r}, got {type(element).__name__}"
            raise BadInputError(message)
        raw[index] = element.encode()
    return raw.reshape(array.shape)


def _shapes(tensors: Mapping[str, Array]) -> dict[str, list[int]]:
    return {name: list(array.shape) for name, array in tensors.items()}
