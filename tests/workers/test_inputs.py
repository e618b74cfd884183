"""Reading payloads of every input type, and joining them into one batch."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from skysail.topics.errors import BadInputError, DecodeError
from skysail.topics.payloads import JSON, TENSOR, Array, encode_json, encode_tensors
from skysail.topics.records import ConsumedRecord, Query
from skysail.topics.specs import InputType, ModelSpec, TensorSpec
from skysail.workers.inputs import InputReader, reader_for
from skysail.workers.work import Work


def reader(kind: InputType, *inputs: TensorSpec) -> InputReader:
    return reader_for(ModelSpec(name="m", version="1", input_type=kind, inputs=inputs))


def work(payload: bytes, content_type: str = JSON, rows: int | None = 1) -> Work:
    return Work(Query("id", payload, content_type, rows), ConsumedRecord("t", 0, 0, payload))


def json_work(value: Any, rows: int | None = 1) -> Work:
    return work(encode_json(value), rows=rows)


def tensor_work(rows: int = 1, **tensors: Array) -> Work:
    return work(encode_tensors(tensors), TENSOR, rows)


def read(reader: InputReader, *works: Work) -> Any:
    for each in works:
        reader.read(each)
    return reader.join(works)


# ---------------------------------------------------------------------------------------------------- numbers


@given(npst.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(0, 5))), st.data())
def test_doubles_come_out_as_they_went_in_however_they_are_cut_into_queries(rows: Array, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1)))) if len(rows) > 1 else []
    parts = np.split(rows, cuts)
    batch = read(reader(InputType.DOUBLES), *[tensor_work(len(part), input=part) for part in parts])
    assert batch.dtype == np.float64
    np.testing.assert_array_equal(batch, rows)


def test_a_batch_of_numbers_may_be_written_to_by_the_model() -> None:
    batch = read(reader(InputType.DOUBLES), tensor_work(input=np.ones((1, 3))))
    batch += 1
    assert batch.tolist() == [[2.0, 2.0, 2.0]]


def test_json_and_tensors_are_joined_into_one_batch() -> None:
    batch = read(
        reader(InputType.DOUBLES),
        json_work([[1, 2], [3.5, 4]], rows=2),
        tensor_work(input=np.array([[5.0, 6.0]])),
        json_work([7, 8], rows=None),
    )
    assert batch.tolist() == [[1.0, 2.0], [3.5, 4.0], [5.0, 6.0], [7.0, 8.0]]


def test_rows_of_unequal_length_become_a_list_of_arrays() -> None:
    batch = read(
        reader(InputType.FLOATS),
        json_work([[1, 2], [3]], rows=2),
        tensor_work(input=np.array([[4, 5, 6]], np.float32)),
    )
    assert [row.tolist() for row in batch] == [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]]
    assert {row.dtype for row in batch} == {np.dtype(np.float32)}


def test_integers_are_int32_and_must_fit() -> None:
    numbers = reader(InputType.INTEGERS)
    assert read(numbers, json_work([[1, -(2**31)]])).dtype == np.int32
    for value in (2**31, 2**70):
        with pytest.raises(BadInputError, match="expected integers from -2147483648 to 2147483647"):
            numbers.read(json_work([[value]]))
    with pytest.raises(BadInputError, match="expected integers from"):
        numbers.read(tensor_work(input=np.array([[2**40]], np.int64)))


def test_tensors_of_another_numeric_type_are_converted_where_that_is_safe() -> None:
    doubles = reader(InputType.DOUBLES)
    assert read(doubles, tensor_work(input=np.array([[1, 2]], np.int64))).tolist() == [[1.0, 2.0]]
    with pytest.raises(BadInputError, match="expected elements of INT32"):
        reader(InputType.INTEGERS).read(tensor_work(input=np.array([[1.5]])))


@pytest.mark.parametrize(
    ("value", "rows", "expected"),
    [
        ("text", None, "one row of doubles, a JSON array of numbers"),
        ([["a"]], 1, "a JSON array of rows of doubles"),
        ([[True]], 1, "a JSON array of rows of doubles"),
        ([[None]], 1, "a JSON array of rows of doubles"),
        ([1.0, 2.0], 2, "a JSON array of rows of doubles"),
        ({"a": 1}, None, "one row of doubles"),
        ([[1.0]], 2, "skysail-rows says 2, the payload holds 1"),
        ([], 1, "holds no row"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_and_the_error_names_what_was_expected(
    value: Any, rows: int | None, expected: str
) -> None:
    with pytest.raises(BadInputError, match=expected):
        reader(InputType.DOUBLES).read(json_work(value, rows))


def test_a_declared_width_is_checked_in_both_encodings() -> None:
    declared = reader(InputType.DOUBLES, TensorSpec("input", "FP64", (-1, 3)))
    with pytest.raises(BadInputError, match="expected 3 numbers in a row, row 1 holds 2"):
        declared.read(json_work([[1, 2, 3], [1, 2]], rows=2))
    with pytest.raises(BadInputError, match="expected 3 numbers in a row, row 0 holds 2"):
        declared.read(tensor_work(input=np.ones((1, 2))))


def test_a_tensor_whose_bytes_do_not_fit_its_header_is_refused_also_when_the_header_is_known() -> None:
    doubles = reader(InputType.DOUBLES)
    good = encode_tensors({"input": np.ones((1, 2))})
    doubles.read(work(good, TENSOR))
    for payload in (good[:-1], good + b"x", good[:3], b""):
        with pytest.raises(DecodeError):
            doubles.read(work(payload, TENSOR))


def test_a_tensor_without_a_row_header_brings_its_own_row_count() -> None:
    each = tensor_work(1, input=np.ones((4, 2)))
    assert read(reader(InputType.DOUBLES), each).shape == (4, 2)
    assert each.rows == 4


def test_a_tensor_with_another_row_count_than_its_header_is_refused() -> None:
    doubles = reader(InputType.DOUBLES)
    doubles.read(tensor_work(3, input=np.ones((3, 2))))
    with pytest.raises(BadInputError, match="skysail-rows says 2, the payload holds 3"):
        doubles.read(tensor_work(2, input=np.ones((3, 2))))


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3), (0, 3)])
def test_tensors_that_are_no_rows_of_vectors_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="expected"):
        reader(InputType.DOUBLES).read(tensor_work(input=np.ones(shape)))


def test_two_tensors_are_no_vector() -> None:
    with pytest.raises(BadInputError, match="expected one tensor"):
        reader(InputType.DOUBLES).read(tensor_work(a=np.ones((1, 2)), b=np.ones((1, 2))))


@pytest.mark.parametrize("payload", [b"", b"{", b"[1,", b"\xff\xfe", b"[" * 100_000, b"NaN"])
@pytest.mark.parametrize("kind", InputType)
def test_what_is_no_json_is_a_decode_error_for_every_input_type(kind: InputType, payload: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        reader(kind).read(work(payload, rows=None))
    assert caught.value.data == payload


def test_numbers_beyond_fp32_are_infinite_without_a_warning() -> None:
    assert read(reader(InputType.FLOATS), json_work([[1e300]])).tolist() == [[float("inf")]]


# ---------------------------------------------------------------------------------------------------- lists


def test_strings_come_from_json_and_from_bytes_tensors() -> None:
    batch = read(
        reader(InputType.STRINGS),
        json_work(["a", "ü"], rows=2),
        json_work("b", rows=None),
        tensor_work(2, input=np.array(["c", "d"], object)),
    )
    assert batch == ["a", "ü", "b", "c", "d"]


def test_bytes_are_base64_in_json_and_raw_in_tensors() -> None:
    raw = bytes(range(256))
    tensor = np.empty((1, 1), object)
    tensor[0, 0] = raw
    encoded = base64.b64encode(raw).decode()
    assert read(reader(InputType.BYTES), json_work([encoded]), tensor_work(input=tensor)) == [raw, raw]
    with pytest.raises(BadInputError, match="base64"):
        reader(InputType.BYTES).read(json_work(["!"]))


def test_text_that_is_no_utf8_is_refused() -> None:
    tensor = np.array([b"\xff"], object)
    with pytest.raises(BadInputError, match="UTF-8"):
        reader(InputType.STRINGS).read(tensor_work(input=tensor))


@pytest.mark.parametrize("value", [1, None, {"a": [1, "x"]}, [1, 2], "text"])
def test_any_json_value_is_a_row_of_json(value: Any) -> None:
    anything = reader(InputType.JSON)
    assert read(anything, json_work(value, rows=None), json_work([value, value], rows=2)) == [value] * 3


def test_tensors_become_json_rows() -> None:
    anything = reader(InputType.JSON)
    assert read(anything, tensor_work(2, x=np.array([[1, 2], [3, 4]]))) == [[1, 2], [3, 4]]
    two = tensor_work(2, x=np.array([1, 2]), label=np.array([b"a", b"b"], object))
    assert read(anything, two) == [{"x": 1, "label": "a"}, {"x": 2, "label": "b"}]


# ---------------------------------------------------------------------------------------------------- tensors


IMAGE = TensorSpec("image", "FP32", (-1, 2, 2))
SIZE = TensorSpec("size", "INT64", (-1,))


def test_named_tensors_are_joined_by_name() -> None:
    batch = read(
        reader(InputType.TENSORS, IMAGE, SIZE),
        tensor_work(2, image=np.ones((2, 2, 2), np.float32), size=np.array([1, 2])),
        json_work([{"image": [[3, 3], [3, 3]], "size": 3}]),
    )
    assert batch["image"].shape == (3, 2, 2)
    assert batch["image"].dtype == np.float32
    assert batch["size"].tolist() == [1, 2, 3]


def test_a_lone_tensors_batch_may_be_written_to() -> None:
    batch = read(reader(InputType.TENSORS), tensor_work(x=np.zeros((1, 2))))
    batch["x"] += 1


def test_a_model_of_one_tensor_takes_bare_rows_in_json() -> None:
    batch = read(reader(InputType.TENSORS, IMAGE), json_work([[[1, 2], [3, 4]]]))
    assert batch["image"].tolist() == [[[1.0, 2.0], [3.0, 4.0]]]


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (lambda: tensor_work(image=np.ones((1, 2, 2), np.float32)), r"expected tensors \['image', 'size'\]"),
        (lambda: tensor_work(image=np.ones((1, 3, 2)), size=np.ones(1, int)), r"expected FP32 of shape \[-1, 2, 2\]"),
        (lambda: tensor_work(image=np.ones((1, 2, 2)), size=np.ones(1)), "expected INT64"),
        (lambda: tensor_work(image=np.ones((1, 2, 2)), size=np.ones(2, int)), "one row count"),
        (lambda: json_work([{"image": [[1, 2], [3]], "size": 1}]), "for tensor 'image'"),
        (lambda: json_work([{"image": [[1, 2], [3, 4]]}]), "expected each row as an object"),
        (lambda: json_work([5]), "expected each row as an object"),
    ],
)
def test_tensors_that_are_not_as_declared_are_refused(each: Any, expected: str) -> None:
    with pytest.raises(BadInputError, match=expected):
        reader(InputType.TENSORS, IMAGE, SIZE).read(each())


def test_tensors_of_unequal_row_shapes_run_in_groups() -> None:
    tensors = reader(InputType.TENSORS, TensorSpec("x", "FP64", (-1, -1)))
    works = [tensor_work(x=np.ones((1, width))) for width in (2, 3, 2)]
    for each in works:
        tensors.read(each)
    assert [list(group) for group in tensors.groups(works)] == [[works[0], works[2]], [works[1]]]


def test_text_in_json_becomes_bytes_elements() -> None:
    batch = read(reader(InputType.TENSORS, TensorSpec("word", "BYTES", (-1,))), json_work([{"word": "ü"}]))
    assert batch["word"].tolist() == ["ü".encode()]
