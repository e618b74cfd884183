from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from skysail.topics.errors import BadInputError, DecodeError
from skysail.topics.payloads import (
    Array,
    datatype_of,
    decode_tensors,
    dtype_of,
    encode_tensors,
    pack_bytes_elements,
    tensor_head,
    unpack_bytes_elements,
)

NUMERIC = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]
SHAPES = npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
NAMES = st.text(max_size=20)


@st.composite
def numeric_arrays(draw: st.DrawFn) -> Array:
    dtype = dtype_of(draw(st.sampled_from(NUMERIC)))
    shape = draw(SHAPES)
    raw = draw(st.binary(min_size=64, max_size=64))
    count = int(np.prod(shape)) * dtype.itemsize
    data = (raw * (count // 64 + 1))[:count]
    if dtype.kind == "b":
        data = bytes(byte & 1 for byte in data)
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    return array


@st.composite
def bytes_arrays(draw: st.DrawFn) -> Array:
    shape = draw(SHAPES)
    elements = draw(st.lists(st.binary(max_size=9), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array: Array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


TENSORS = st.dictionaries(NAMES, numeric_arrays() | bytes_arrays(), max_size=3)


def equal(left: Array, right: Array) -> bool:
    """The same bytes: NaN with the same bits is equal, and -0.0 is not 0.0."""
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()


@given(TENSORS)
def test_tensors_come_back_as_they_were(tensors: dict[str, Array]) -> None:
    decoded = decode_tensors(encode_tensors(tensors))
    assert list(decoded) == list(tensors)
    for name, array in tensors.items():
        if array.dtype == object:
            assert decoded[name].shape == array.shape
            assert decoded[name].tolist() == array.tolist()
        else:
            assert equal(decoded[name], array)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_every_numeric_datatype_keeps_its_extremes(datatype: str) -> None:
    dtype = dtype_of(datatype)
    if dtype.kind == "b":
        array = np.array([[True], [False]])
    else:
        info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        array = np.array([[info.min], [info.max]], dtype)
    assert datatype_of(array) == datatype
    assert equal(decode_tensors(encode_tensors({"x": array}))["x"], array)


@pytest.mark.parametrize("array", [np.array(["naïve", "日本", ""]), np.array([b"a", b"\xff"]), np.array(["x"], object)])
def test_texts_travel_as_utf_8(array: Array) -> None:
    decoded = decode_tensors(encode_tensors({"text": array}))["text"]
    assert datatype_of(array) == "BYTES"
    assert decoded.tolist() == [text.encode() if isinstance(text, str) else text for text in array.tolist()]


def test_big_endian_and_strided_arrays_travel_by_value() -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::-2]
    decoded = decode_tensors(encode_tensors({"x": array}))["x"]
    assert decoded.tolist() == array.tolist()
    assert decoded.dtype == np.dtype("<i4")


@pytest.mark.parametrize("dtype", ["c16", "M8[s]", "m8[s]", "V3", "f16"])
def test_a_dtype_without_a_datatype_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(BadInputError, match="has no Open Inference Protocol datatype"):
        datatype_of(np.zeros(1, dtype))


def test_an_unknown_datatype_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInputError, match="unknown datatype 'FP8': expected one of BOOL, UINT8"):
        dtype_of("FP8")


def test_decoded_arrays_are_views_that_nobody_can_write_to() -> None:
    decoded = decode_tensors(encode_tensors({"x": np.ones(3)}))["x"]
    with pytest.raises(ValueError, match="read-only"):
        decoded[0] = 2


def test_a_cached_head_is_the_head_of_a_whole_payload() -> None:
    array = np.arange(6, dtype="f4").reshape(2, 3)
    assert tensor_head("input", "FP32", (2, 3)) + array.tobytes() == encode_tensors({"input": array})


@given(bytes_arrays(), st.binary(max_size=5))
def test_bytes_elements_are_read_from_anywhere_and_say_where_they_end(array: Array, before: bytes) -> None:
    packed = pack_bytes_elements(array)
    elements, end = unpack_bytes_elements(before + packed + b"rest", len(before), array.size)
    assert elements.tolist() == array.ravel().tolist()
    assert end == len(before) + len(packed)


# What is not a tensor payload is a DecodeError, and costs no more than its own bytes.


def decodes_or_is_refused(data: bytes) -> dict[str, Array] | None:
    """Whatever else `decode_tensors` raises fails the test."""
    try:
        return decode_tensors(data)
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - both ends of the law
        return None


@given(TENSORS.filter(bool), st.data())
def test_a_payload_cut_short_anywhere_is_refused(tensors: dict[str, Array], data: st.DataObject) -> None:
    payload = encode_tensors(tensors)
    cut = data.draw(st.integers(0, len(payload) - 1))
    assert decodes_or_is_refused(payload[:cut]) is None


@given(TENSORS, st.binary(min_size=1, max_size=9))
def test_a_payload_with_bytes_behind_it_is_refused(tensors: dict[str, Array], rest: bytes) -> None:
    assert decodes_or_is_refused(encode_tensors(tensors) + rest) is None


@given(TENSORS.filter(bool), st.data())
def test_a_flipped_bit_never_raises_anything_but_a_decode_error(tensors: dict[str, Array], data: st.DataObject) -> None:
    payload = bytearray(encode_tensors(tensors))
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << bit % 8
    decodes_or_is_refused(bytes(payload))


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    decodes_or_is_refused(data)


def with_header(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else msgspec.json.encode(header)
    return struct.pack("<I", len(text)) + text + body


SIZES = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, -1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64])
HEADERS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["x", "y", ""]),
            "datatype": st.sampled_from([*NUMERIC, "BYTES", "FP8", ""]),
            "shape": st.lists(SIZES | st.integers(0, 3), max_size=70),
        }
    ),
    max_size=3,
)


@given(HEADERS, st.binary(max_size=40))
def test_any_header_decodes_or_is_refused(header: Any, body: bytes) -> None:
    decodes_or_is_refused(with_header(header, body))


@pytest.mark.parametrize(
    ("shape", "datatype"),
    [
        ([2**40, 2**40], "FP64"),
        ([0, 2**62], "FP64"),
        ([2**62, 0], "BYTES"),
        ([1] * 70, "UINT8"),
        ([10**30], "BYTES"),
        ([2**32], "BYTES"),
        ([], "FP64"),
        ([-1], "FP64"),
        ([-1, -1], "FP64"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_without_allocating_it(shape: list[int], datatype: str) -> None:
    payload = with_header([{"name": "x", "datatype": datatype, "shape": shape}], b"\0")
    tracemalloc.start()
    try:
        assert decodes_or_is_refused(payload) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_two_tensors_of_one_name_are_refused() -> None:
    entry = {"name": "x", "datatype": "UINT8", "shape": [1]}
    with pytest.raises(DecodeError, match="two tensors are named 'x'"):
        decode_tensors(with_header([entry, entry], b"ab"))


@pytest.mark.parametrize(
    "header", [b"", b"{}", b"null", b"[" * 50_000, b"\xff", b'[{"name":"\xff"}]', b"[1]", b'[{"name":1}]']
)
def test_a_header_that_is_no_list_of_tensors_is_refused(header: bytes) -> None:
    assert decodes_or_is_refused(with_header(header)) is None


def test_large_headers_are_not_kept() -> None:
    def payload(number: int) -> bytes:
        return with_header([{"name": f"{number}" + "x" * 100_000, "datatype": "UINT8", "shape": [1]}], b"a")

    tracemalloc.start()
    try:
        for number in range(50):
            decode_tensors(payload(number))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
