"""Arrays from JSON values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.frontend.tensors import array_from_json, reshaped
from skysail.topics.errors import BadInputError
from skysail.topics.payloads import dtype_of

DATATYPES = ["BOOL", "INT8", "UINT8", "INT32", "INT64", "UINT64", "FP16", "FP32", "FP64", "BYTES"]

values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
nested = st.recursive(values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2))


@given(nested, st.sampled_from([None, *DATATYPES]))
def test_an_array_holds_the_values_that_it_was_given_or_none_is_made(data: Any, datatype: str | None) -> None:
    try:
        array = array_from_json(data, datatype)
    except BadInputError:
        return
    if datatype is not None:
        assert array.dtype == dtype_of(datatype)
    flat = list(flattened(data))
    assert array.size == len(flat)
    for got, sent in zip(array.ravel().tolist(), flat, strict=True):
        if isinstance(sent, str):
            assert got == sent.encode()
        elif datatype in {"FP16", "FP32"}:
            assert math.isfinite(got)
        else:
            assert (got, type(got) is bool) == (sent, type(sent) is bool)


def flattened(data: Any) -> Any:
    if not isinstance(data, list):
        yield data
        return
    for item in data:
        yield from flattened(item)


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=5))
def test_lists_are_nested_as_numpy_would_have_it(rows: list[list[int]]) -> None:
    array = array_from_json(rows, "INT32")
    assert np.array_equal(array, np.array(rows, np.int32))


@given(st.integers(), st.sampled_from([name for name in DATATYPES if "INT" in name]))
def test_an_integer_is_taken_when_it_fits(number: int, datatype: str) -> None:
    bounds = np.iinfo(dtype_of(datatype))
    if bounds.min <= number <= bounds.max:
        assert array_from_json([number], datatype).tolist() == [number]
    else:
        with pytest.raises(BadInputError):
            array_from_json([number], datatype)


def test_whole_numbers_keep_every_digit_beside_floats() -> None:
    assert array_from_json([2**53 + 1, 1.0], "INT64").tolist() == [2**53 + 1, 1]


@given(st.lists(st.integers(-5, 2**40), max_size=40), st.integers(0, 30))
def test_a_shape_either_fits_or_is_refused(shape: list[int], size: int) -> None:
    array = np.zeros(size)
    try:
        assert reshaped(array, tuple(shape)).shape == tuple(shape)
    except BadInputError:
        return
    assert math.prod(shape) == size
