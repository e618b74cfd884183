"""One JSON row of numbers becomes the bytes that numpy would make of it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import dtype_of
from skysail.topics.records import ConsumedRecord, Query
from skysail.topics.specs import InputType
from skysail.workers.inputs.numeric import NumericReader
from skysail.workers.work import Work

INT32 = st.integers(-(2**31), 2**31 - 1)


def read(kind: InputType, row: list[float]) -> bytes:
    payload = msgspec.json.encode(row)
    work = Work(Query("q", payload, rows=None), ConsumedRecord("t", 0, 0, payload))
    NumericReader(kind).read(work)
    assert (work.rows, work.layout) == (1, len(row))
    return bytes(work.data)


@given(row=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=80))
def test_doubles_keep_their_values(row: list[float]) -> None:
    assert read(InputType.DOUBLES, row) == np.array(row, "<f8").tobytes()


@given(row=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=80))
def test_floats_are_rounded_to_32_bits(row: list[float]) -> None:
    assert read(InputType.FLOATS, row) == np.array(row, "<f4").tobytes()


@given(row=st.lists(INT32, max_size=80))
def test_integers_keep_their_values(row: list[int]) -> None:
    assert read(InputType.INTEGERS, list(row)) == np.array(row, "<i4").tobytes()


def test_what_is_beyond_a_32_bit_float_is_infinite_as_in_c() -> None:
    assert np.frombuffer(read(InputType.FLOATS, [1e39, -1e39, 1.0]), "<f4").tolist() == [math.inf, -math.inf, 1.0]


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**70])
def test_what_is_beyond_an_integer_is_refused(number: int) -> None:
    with pytest.raises(BadInputError, match="expected integers from -2147483648 to 2147483647"):
        read(InputType.INTEGERS, [1, number])


@pytest.mark.parametrize("kind", [InputType.INTEGERS, InputType.FLOATS, InputType.DOUBLES])
def test_the_elements_are_as_wide_as_the_datatype_says(kind: InputType) -> None:
    assert len(read(kind, [1, 2, 3])) == 3 * dtype_of(kind.datatype or "").itemsize
