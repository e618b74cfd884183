"""Input types `bytes`, `strings` and `json`: a batch is a list with one element for each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

import msgspec

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import TENSOR, Array, decode_tensors
from skysail.workers.inputs.reader import check_rows, decode_typed
from skysail.workers.work import Work

__all__ = ["BytesReader", "JsonReader", "StringsReader"]


class _ListReader(ABC):
    """Rows in a list; subclasses say what a row is, in JSON and in tensors."""

    row: ClassVar[msgspec.json.Decoder[Any]]
    rows: ClassVar[msgspec.json.Decoder[Any]]
    expected: ClassVar[str]

    def read(self, work: Work) -> None:
        """As in `InputReader`. `data` is the list of rows."""
        query = work.query
        if query.content_type == TENSOR:
            data = self.from_tensors(decode_tensors(query.payload))
            check_rows(query, len(data), self_describing=True)
        elif query.rows is None:
            data = [decode_typed(self.row, query.payload, self.expected)]
        else:
            data = decode_typed(self.rows, query.payload, f"a JSON array with {self.expected} for each row")
            check_rows(query, len(data))
        work.rows, work.data = len(data), data

    @abstractmethod
    def from_tensors(self, tensors: dict[str, Array]) -> list[Any]:
        """Rows from a tensor payload."""

    def groups(self, works: Sequence[Work]) -> list[Sequence[Work]]:
        """One group."""
        return [works]

    def join(self, works: Sequence[Work]) -> list[Any]:
        """All rows in one list."""
        return list(chain.from_iterable([work.data for work in works]))


class BytesReader(_ListReader):
    """Rows of raw bytes: base64 text in JSON, BYTES elements in a tensor."""

    row = msgspec.json.Decoder(bytes)
    rows = msgspec.json.Decoder(list[bytes])
    expected = "base64 text"

    def from_tensors(self, tensors: dict[str, Array]) -> list[bytes]:
        """The elements as they are."""
        return _elements(tensors)


class StringsReader(_ListReader):
    """Rows of text."""

    row = msgspec.json.Decoder(str)
    rows = msgspec.json.Decoder(list[str])
    expected = "a string"

    def from_tensors(self, tensors: dict[str, Array]) -> list[str]:
        """The elements as UTF-8."""
        return [_text(element) for element in _elements(tensors)]


class JsonReader(_ListReader):
    """Rows of any JSON value. A tensor's row is a nested list; of several tensors, an object of them by name."""

    row = msgspec.json.Decoder()
    rows = msgspec.json.Decoder(list[Any])
    expected = "a JSON value"

    def from_tensors(self, tensors: dict[str, Array]) -> list[Any]:
        """Lists of Python values."""
        columns = {name: _with_text(array.tolist()) for name, array in tensors.items()}
        if len(columns) == 1:
            return next(iter(columns.values()))
        if len({len(column) for column in columns.values()}) != 1:
            message = "expected tensors with one row count"
            raise BadInputError(message)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _elements(tensors: dict[str, Array]) -> list[bytes]:
    array = next(iter(tensors.values())) if len(tensors) == 1 else None
    if array is None or array.dtype != object or array.size != len(array):
        found = {name: f"{value.dtype}{list(value.shape)}" for name, value in tensors.items()}
        message = f"expected one BYTES tensor of shape (rows,) or (rows, 1), got {found}"
        raise BadInputError(message)
    return array.ravel().tolist()


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        message = f"expected UTF-8 text: {error}"
        raise BadInputError(message) from None


def _with_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_text(item) for item in value]
    return _text(value) if isinstance(value, bytes) else value
