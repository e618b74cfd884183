"""Input types `integers`, `floats` and `doubles`: a row is a flat vector of numbers.

The common case is one tensor a query, all with one header: its bytes are checked by their length and joined, and numpy
looks at the whole batch once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import TENSOR, Array, decode_tensors, dtype_of, row_packer
from skysail.topics.specs import InputType, TensorSpec
from skysail.workers.inputs.reader import check_rows, decode_typed
from skysail.workers.work import Work

__all__ = ["NumericReader"]

_RAGGED = -1
_HEADS_KEPT = 4096
_LONGEST_HEAD = 512
#: How `struct` calls the elements.
_ELEMENTS = {InputType.INTEGERS: "i", InputType.FLOATS: "f", InputType.DOUBLES: "d"}


class NumericReader:
    """Reads rows of numbers into batches of shape (rows, n); into a list of 1-D arrays where row lengths differ.

    Args:
        kind: a numeric input type.
        inputs: the model's declared inputs; one with a shape (-1, n) fixes the length of rows.
    """

    def __init__(self, kind: InputType, inputs: tuple[TensorSpec, ...] = ()) -> None:
        self._kind = kind
        self._dtype = dtype_of(kind.datatype or "")
        self._width = inputs[0].shape[1] if len(inputs) == 1 and len(inputs[0].shape) == 2 else _RAGGED
        element = int if kind is InputType.INTEGERS else float
        self._row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[element])  # type: ignore[valid-type]
        self._rows: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[list[element]])  # type: ignore[valid-type]
        # Tensor header (with its length in front) → rows, row length, bytes of the whole payload.
        self._heads: dict[bytes, tuple[int, int, int]] = {}

    def read(self, work: Work) -> None:
        """As in `InputReader`. `layout` is the row length; `data` are raw elements, or a list of arrays if ragged."""
        query = work.query
        payload = query.payload
        if query.content_type != TENSOR:
            self._read_json(work)
            return
        size = 4 + int.from_bytes(payload[:4], "little")
        known = self._heads.get(payload[:size])
        if known is not None and known[2] == len(payload) and known[0] == query.rows:
            work.rows, work.layout = known[0], known[1]
            work.data = payload[size:]
        else:
            self._read_tensor(work, size)

    def _read_tensor(self, work: Work, size: int) -> None:
        payload = work.query.payload
        tensors = decode_tensors(payload)
        if len(tensors) != 1:
            message = f"expected one tensor of shape (rows, n) for {self._kind}, got {len(tensors)} tensors"
            raise BadInputError(message)
        ((_, array),) = tensors.items()
        if array.ndim != 2:
            message = f"expected a tensor of shape (rows, n) for {self._kind}, got shape {list(array.shape)}"
            raise BadInputError(message)
        rows, width = array.shape
        check_rows(work.query, rows, self_describing=True)
        self._check_width(width, 0)
        work.rows, work.layout = rows, width
        if array.dtype == self._dtype:
            work.data = payload[size:]
            self._remember(payload[:size], rows, width, len(payload))
        else:
            work.data = self._converted(array).tobytes()

    def _remember(self, head: bytes, rows: int, width: int, total: int) -> None:
        if len(head) <= _LONGEST_HEAD:
            if len(self._heads) >= _HEADS_KEPT:
                self._heads.clear()
            self._heads[head] = (rows, width, total)

    def _converted(self, array: Array) -> Array:
        if not np.can_cast(array.dtype, self._dtype, "same_kind"):
            message = f"expected elements of {self._kind.datatype} for {self._kind}, got {array.dtype}"
            raise BadInputError(message)
        if self._dtype.kind == "i":
            self._check_range(array)
        with np.errstate(over="ignore"):  # beyond FP32 is infinity, as in C
            return array.astype(self._dtype)

    def _read_json(self, work: Work) -> None:
        query = work.query
        if query.rows is None:
            rows = [decode_typed(self._row, query.payload, f"one row of {self._kind}, a JSON array of numbers")]
        else:
            rows = decode_typed(self._rows, query.payload, f"a JSON array of rows of {self._kind}")
            check_rows(query, len(rows))
        for index, row in enumerate(rows):
            self._check_width(len(row), index)
        work.rows = len(rows)
        if len(rows) == 1:
            work.layout, work.data = len(rows[0]), self._packed(rows[0])
        elif len({len(row) for row in rows}) == 1:
            work.layout, work.data = len(rows[0]), self._array(rows).tobytes()
        else:
            work.layout, work.data = _RAGGED, [self._array(row) for row in rows]

    def _packed(self, numbers: list[Any]) -> bytes:
        """One row, ten times as fast as by numpy; what does not fit is for `_array` to refuse, or to make infinite."""
        try:
            return row_packer(_ELEMENTS[self._kind], len(numbers))(*numbers)
        except (struct.error, OverflowError):
            return self._array(numbers).tobytes()

    def _array(self, numbers: list[Any]) -> Array:
        if self._dtype.kind != "i":
            with np.errstate(over="ignore"):
                return np.array(numbers, self._dtype)
        try:
            wide = np.array(numbers, np.int64)
        except OverflowError:
            raise self._out_of_range() from None
        self._check_range(wide)
        return wide.astype(self._dtype)

    def _check_range(self, array: Array) -> None:
        bounds = np.iinfo(self._dtype)
        if array.size and (array.min() < bounds.min or array.max() > bounds.max):
            raise self._out_of_range()

    def _out_of_range(self) -> BadInputError:
        bounds = np.iinfo(self._dtype)
        return BadInputError(f"expected integers from {bounds.min} to {bounds.max} for {self._kind}")

    def _check_width(self, width: int, index: int) -> None:
        if self._width not in (width, _RAGGED):
            message = f"expected {self._width} numbers in a row, row {index} holds {width}"
            raise BadInputError(message)

    def groups(self, works: Sequence[Work]) -> list[Sequence[Work]]:
        """One group: unequal lengths become a list."""
        return [works]

    def join(self, works: Sequence[Work]) -> Array | list[Array]:
        """An array of shape (rows, n), writable; or a list of 1-D arrays where row lengths differ."""
        width = works[0].layout
        if width != _RAGGED and all(work.layout == width for work in works):
            raw = bytearray().join([work.data for work in works])
            return np.frombuffer(raw, self._dtype).reshape(sum([work.rows for work in works]), width)
        rows: list[Array] = []
        for work in works:
            if work.layout == _RAGGED:
                rows += work.data
            else:
                rows += list(np.frombuffer(bytearray(work.data), self._dtype).reshape(work.rows, work.layout))
        return rows
