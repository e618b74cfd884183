"""Clipper's input types, and how a request's JSON is read as one of them.

Lenient on numbers (`[1, 2]` is doubles, `[1.0]` is integers), strict on everything else; each refusal names what was
expected.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from skysail.topics.errors import BadInputError
from skysail.topics.specs import InputType

__all__ = ["FeedbackDecoder", "PredictRequest", "RequestDecoder"]

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
#: It becomes the key of a record.
_LONGEST_UID = 256
#: What a decoder raises on a body that is not what it should be.
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class PredictRequest(msgspec.Struct):
    """The body of a predict request, of whatever input type."""

    input: Any = msgspec.UNSET
    input_batch: Any = msgspec.UNSET
    version: str | int | None = None


class FeedbackRequest(msgspec.Struct, kw_only=True):
    """The body of feedback. Clipper's `label` is a number; here it is any JSON value.

    Attributes:
        input: what was predicted on.
        label: what was right.
        uid: whose feedback it is.
        query_id: the query that it is about, where that is known.
    """

    input: Any
    label: Any
    uid: int | Annotated[str, msgspec.Meta(max_length=_LONGEST_UID)] = 0
    query_id: str | None = None


class RequestDecoder:
    """Reads predict requests for one input type."""

    def __init__(self, kind: InputType) -> None:
        row, self._expected = _ROW_TYPES[kind]
        self._decoder = _predict_decoder(row)
        # Integers are tried as such first: a decoder that takes both is slower, and few send 1.0 for 1.
        self._lenient = _predict_decoder(list[int | float]) if kind is InputType.INTEGERS else None

    @classmethod
    @lru_cache(maxsize=len(InputType))
    def of(cls, kind: InputType) -> RequestDecoder:
        """The decoder for a type; there is one, whatever the number of applications."""
        return cls(kind)

    def decode(self, body: bytes) -> Any:
        """A struct with `input` or `input_batch` (the other is UNSET) and `version`.

        Raises:
            BadInputError: naming what is wrong, where, and what was expected.
        """
        try:
            request = self._decoder.decode(body)
        except _NOT_DECODED as error:
            request = self._decode_leniently(body, error)
        single, batch = request.input is not msgspec.UNSET, request.input_batch is not msgspec.UNSET
        if single is batch:
            problem = "both input and input_batch are given" if batch else "neither input nor input_batch is given"
            raise self._refusal(problem)
        if batch and not request.input_batch:
            problem = "input_batch is empty"
            raise self._refusal(problem)
        return request

    def _decode_leniently(self, body: bytes, error: Exception) -> Any:
        if self._lenient is None or not isinstance(error, msgspec.ValidationError):
            raise self._refusal(str(error)) from None
        try:
            request = self._lenient.decode(body)
        except _NOT_DECODED:
            raise self._refusal(str(error)) from None
        if request.input is not msgspec.UNSET:
            request.input = self._whole(request.input)
        if request.input_batch is not msgspec.UNSET:
            request.input_batch = [self._whole(row) for row in request.input_batch]
        return request

    def _whole(self, row: list[int | float]) -> list[int]:
        for index, number in enumerate(row):
            if isinstance(number, float) and not number.is_integer():
                problem = f"Expected `int`, got {number} at index {index}"
                raise self._refusal(problem)
        return [int(number) for number in row]

    def _refusal(self, problem: str) -> BadInputError:
        schema = f'{{"input": x}} or {{"input_batch": [x, ...]}}, and optionally "version", with x {self._expected}'
        return BadInputError(f"Error parsing JSON: {problem}. Expected JSON schema: {schema}")


def _predict_decoder(row: Any) -> msgspec.json.Decoder[Any]:
    unset = msgspec.UnsetType
    single, batch = (Any, list[Any]) if row is Any else (row | unset, list[row])
    fields = [
        ("input", single, msgspec.UNSET),
        ("input_batch", batch | unset, msgspec.UNSET),
        ("version", str | int | None, None),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("PredictRequest", fields, bases=(PredictRequest,)))


class FeedbackDecoder:
    """Reads feedback for one input type."""

    def __init__(self, kind: InputType) -> None:
        row, self._expected = _ROW_TYPES[kind]
        if kind is InputType.INTEGERS:
            row = list[int | float]
        struct = msgspec.defstruct("FeedbackRequest", [("input", row)], bases=(FeedbackRequest,), kw_only=True)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct)

    @classmethod
    @lru_cache(maxsize=len(InputType))
    def of(cls, kind: InputType) -> FeedbackDecoder:
        """The decoder for a type."""
        return cls(kind)

    def decode(self, body: bytes) -> FeedbackRequest:
        """The feedback.

        Raises:
            BadInputError: naming what is wrong, where, and what was expected.
        """
        try:
            feedback: FeedbackRequest = self._decoder.decode(body)
        except _NOT_DECODED as error:
            schema = f'{{"input": x, "label": y}}, and optionally "uid" and "query_id", with x {self._expected}'
            message = f"Error parsing JSON: {error}. Expected JSON schema: {schema}"
            raise BadInputError(message) from None
        return feedback
