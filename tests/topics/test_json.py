from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.errors import DecodeError
from skysail.topics.payloads import decode_json, encode_json, encode_json_rows, to_jsonable

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_values_come_back_as_they_were(value: Any) -> None:
    assert decode_json(encode_json(value)) == value


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=6), st.randoms(use_true_random=False))
def test_equal_values_give_equal_bytes_whatever_the_order_of_their_keys(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert encode_json(dict(items)) == encode_json(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_hold_become_null(number: float) -> None:
    assert encode_json([number]) == b"[null]"
    assert encode_json_rows([np.array([number, 1.0]), np.float64(number)]) == b"[[null,1.0],null]"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"[1,]",
        b"'a'",
        b"1 2",
        b"\xff",
        b'"\xff"',
        b'"\\ud800"',
        b"\xef\xbb\xbf1",
        b"[" * 90_000,
    ],
)
def test_what_is_not_json_is_one_typed_error_that_keeps_the_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not valid JSON") as caught:
        decode_json(data)
    assert caught.value.data == data


@given(st.binary(max_size=100))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    try:
        decode_json(data)
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - both ends of the law


ROWS = [
    (1.5, b"1.5"),
    (np.float32(0.5), b"0.5"),
    (np.int64(-3), b"-3"),
    (np.bool_(True), b"true"),
    (np.array([[1, 2], [3, 4]], "i2"), b"[[1,2],[3,4]]"),
    (np.array(["a", None, {"b": np.int8(1)}], object), b'["a",null,{"b":1}]'),
    ({"label": np.str_("cat"), "scores": np.array([0.25])}, b'{"label":"cat","scores":[0.25]}'),
    ((1, (2, [np.uint8(3)])), b"[1,[2,[3]]]"),
    (b"\xff", b'"/w=="'),
    (None, b"null"),
    ("日本", '"日本"'.encode()),
]


@pytest.mark.parametrize(("row", "text"), ROWS)
def test_a_row_of_outputs_may_hold_numpy_values(row: Any, text: bytes) -> None:
    assert encode_json_rows([row, row]) == b"[" + text + b"," + text + b"]"


@pytest.mark.parametrize("row", [object(), 1j, {"a": [object()]}])
def test_a_row_that_json_cannot_hold_is_a_type_error(row: Any) -> None:
    with pytest.raises(TypeError):
        encode_json_rows([row])


def test_keys_that_are_no_text_become_text() -> None:
    assert to_jsonable({1: np.int8(2)}) == {"1": 2}
