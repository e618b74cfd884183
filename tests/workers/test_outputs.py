"""What predict may return, and what each query is answered."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.errors import ModelError, OutputLengthError
from skysail.topics.payloads import decode_tensors
from skysail.topics.specs import TensorSpec
from skysail.workers.outputs import OutputRange, joined, outputs_of


class Frame:
    """What pandas and torch offer: numpy's protocol."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self._values, dtype)


def as_json(result: Any, rows: int) -> Any:
    return json.loads(outputs_of(result, rows).json(0, rows))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.data())
def test_any_slice_of_an_array_is_the_same_slice_in_json_and_in_tensors(
    values: list[float], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(start + 1, len(values)))
    outputs = outputs_of(np.array(values), len(values))
    assert json.loads(outputs.json(start, stop)) == values[start:stop]
    tensors = outputs.tensors(start, stop)
    assert tensors is not None
    assert decode_tensors(tensors)["output"].tolist() == values[start:stop]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([1, "a"], [1, "a"]),
        ((1, 2), [1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ([np.array([1, 2]), np.array([3, 4])], [[1, 2], [3, 4]]),
        ([np.array([1]), np.array([3, 4])], [[1], [3, 4]]),
        ([np.float32(0.5), np.int64(3)], [0.5, 3]),
        (
            [{"label": np.str_("x"), "p": np.float64(0.25)}, {"p": [np.int8(1)]}],
            [{"label": "x", "p": 0.25}, {"p": [1]}],
        ),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([True, False]), [True, False]),
        ({"label": np.array(["a", "b"]), "p": [0.5, 1.0]}, [{"label": "a", "p": 0.5}, {"label": "b", "p": 1.0}]),
        (Frame([1.5, 2.5]), [1.5, 2.5]),
        ([{np.int64(1): "x"}, {2: "y"}], [{"1": "x"}, {"2": "y"}]),
    ],
)
def test_outputs_of_many_kinds_have_their_json_form(result: Any, expected: Any) -> None:
    assert as_json(result, 2) == expected


def test_nan_and_infinity_are_null_in_json_and_kept_in_tensors() -> None:
    outputs = outputs_of(np.array([np.nan, np.inf, 1.0]), 3)
    assert json.loads(outputs.json(0, 3)) == [None, None, 1.0]
    tensors = outputs.tensors(0, 3)
    assert tensors is not None
    assert np.isnan(decode_tensors(tensors)["output"][0])
    assert as_json([float("nan"), np.float64("inf")], 2) == [None, None]


@pytest.mark.parametrize("result", [None, "ab", b"ab", 5, {1, 2}, iter([1, 2]), np.float64(1), np.array(5.0), {}])
def test_what_is_no_sequence_of_outputs_is_refused(result: Any) -> None:
    with pytest.raises(ModelError):
        outputs_of(result, 2)


@pytest.mark.parametrize("result", [[1], np.zeros((3, 2)), {"a": [1, 2, 3]}, []])
def test_another_number_of_outputs_than_rows_is_refused_and_both_are_named(result: Any) -> None:
    with pytest.raises(OutputLengthError, match=r"given 2 rows and returned [013] outputs"):
        outputs_of(result, 2)


@pytest.mark.parametrize("value", [object(), {"a": object()}, 1j, np.complex64(1), "\ud800"])
def test_an_output_without_a_json_form_is_an_error_of_the_model(value: Any) -> None:
    outputs = outputs_of([value], 1)
    with pytest.raises(ModelError, match="no JSON form"):
        outputs.json(0, 1)


def test_an_output_that_holds_itself_is_an_error_of_the_model() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ModelError, match="no JSON form"):
        outputs_of([endless], 1).json(0, 1)


def test_lists_and_arrays_of_objects_have_no_tensor_form() -> None:
    assert outputs_of([1, 2], 2).tensors(0, 2) is None
    assert outputs_of(np.array([{}, None], object), 2).tensors(0, 2) is None
    assert outputs_of(np.array([1j, 2]), 2).tensors(0, 2) is None


def test_arrays_of_text_are_bytes_tensors() -> None:
    for array in (np.array(["a", "b"]), np.array(["a", "b"], object)):
        tensors = outputs_of(array, 2).tensors(0, 2)
        assert tensors is not None
        assert decode_tensors(tensors)["output"].tolist() == [b"a", b"b"]


def test_named_outputs_keep_their_names_in_tensors() -> None:
    tensors = outputs_of({"label": np.array([1, 2]), "p": np.array([[0.5], [1.0]])}, 2).tensors(1, 2)
    assert tensors is not None
    decoded = decode_tensors(tensors)
    assert decoded["label"].tolist() == [2]
    assert decoded["p"].tolist() == [[1.0]]


def test_a_lone_array_has_the_name_that_the_model_declares() -> None:
    tensors = outputs_of(np.zeros(1), 1, (TensorSpec("score", "FP64", (-1,)),)).tensors(0, 1)
    assert tensors is not None
    assert list(decode_tensors(tensors)) == ["score"]


def test_a_range_of_a_range_counts_from_its_own_start() -> None:
    whole = OutputRange(outputs_of(np.arange(10), 10), 0, 10)
    assert json.loads(whole[4:9][1:3].json()) == [5, 6]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (([1], [2, 3]), [1, 2, 3]),
        ((np.array([1.0]), np.array([2.0, 3.0])), [1.0, 2.0, 3.0]),
        (({"a": [1]}, {"a": [2, 3]}), [{"a": 1}, {"a": 2}, {"a": 3}]),
    ],
)
def test_the_outputs_of_several_calls_are_joined_in_order(parts: tuple[Any, Any], expected: Any) -> None:
    outputs = joined([outputs_of(parts[0], 1), outputs_of(parts[1], 2)])
    assert json.loads(outputs.json(0, 3)) == expected


def test_different_kinds_of_outputs_cannot_be_joined() -> None:
    with pytest.raises(ModelError, match="different kinds"):
        joined([outputs_of([1], 1), outputs_of(np.array([1]), 1)])
