from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from skysail.admin.deployers.options import model_spec
from skysail.admin.deployers.trial import batch_of, try_predict
from skysail.topics.errors import BadInputError, OutputLengthError
from skysail.topics.specs import InputType


def test_vectors_of_one_length_are_an_array_of_the_input_types_dtype() -> None:
    batch = batch_of([[1, 2], [3, 4]], InputType.FLOATS)
    assert (batch.dtype, batch.shape) == (np.dtype("<f4"), (2, 2))


def test_vectors_of_different_lengths_are_a_list_of_arrays() -> None:
    batch = batch_of([[1], [3, 4]], InputType.INTEGERS)
    assert [one.tolist() for one in batch] == [[1], [3, 4]]


def test_bytes_are_decoded_from_base64() -> None:
    assert batch_of(["aGVsbG8=", b"raw"], InputType.BYTES) == [b"hello", b"raw"]


def test_tensors_are_arrays_by_name() -> None:
    batch = batch_of([{"a": [1], "b": 2}, {"a": [3], "b": 4}], InputType.TENSORS)
    assert {name: array.tolist() for name, array in batch.items()} == {"a": [[1], [3]], "b": [2, 4]}


def test_a_function_is_tried_as_a_worker_will_call_it() -> None:
    assert try_predict(lambda batch: batch.sum(axis=1), [[1.0, 2.0]], InputType.DOUBLES) == [3.0]


def test_an_async_function_is_awaited() -> None:
    async def predict(inputs: list[str]) -> list[int]:
        return [len(text) for text in inputs]

    assert try_predict(predict, ["ab"], InputType.STRINGS) == [2]


def test_named_outputs_are_one_object_for_each_row() -> None:
    outputs = try_predict(
        lambda rows: {"label": np.arange(len(rows)), "p": [0.5] * len(rows)}, ["x", "y"], InputType.JSON
    )
    assert outputs == [{"label": 0, "p": 0.5}, {"label": 1, "p": 0.5}]


def test_one_output_is_needed_for_each_row() -> None:
    with pytest.raises(OutputLengthError, match="given 2 rows and returned 1 outputs"):
        try_predict(lambda rows: rows[:1], ["x", "y"], InputType.STRINGS)


def test_what_predict_raises_is_raised() -> None:
    def predict(rows: list[str]) -> list[str]:
        raise KeyError(rows[0])

    with pytest.raises(KeyError, match="x"):
        try_predict(predict, ["x"], InputType.STRINGS)


@pytest.mark.parametrize("rows", [[], "text", {"a": 1}])
def test_a_sample_is_a_list_of_rows(rows: Any) -> None:
    with pytest.raises(BadInputError, match="a sample is a list of rows"):
        try_predict(lambda rows: rows, rows, InputType.STRINGS)
    with pytest.raises(BadInputError, match="a sample is a list of rows"):
        model_spec("m", "1", InputType.STRINGS, {"sample": rows})


def test_a_sample_may_be_an_array() -> None:
    spec = model_spec("m", "1", InputType.DOUBLES, {"sample": np.array([[1.0, 2.0]])})
    assert spec.sample == [[1.0, 2.0]]


def test_a_sample_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(BadInputError, match="the sample cannot be sent"):
        model_spec("m", "1", InputType.JSON, {"sample": [object()]})


def test_options_become_the_versions_specification() -> None:
    spec = model_spec(
        "m",
        "1",
        InputType.DOUBLES,
        {
            "batch_policy": "quantile",
            "max_batch_rows": 64,
            "batch_wait_ms": 2.0,
            "objective_ms": 5.0,
            "predict_timeout_s": 9.0,
            "partitions": 4,
            "num_replicas": 2,
            "labels": ["a"],
        },
    )
    assert (spec.batch.policy, spec.batch.max_rows, spec.batch.wait_ms) == ("quantile", 64, 2.0)
    assert (spec.objective_ms, spec.predict_timeout_s, spec.partitions, spec.replicas) == (5.0, 9.0, 4, 2)
    assert spec.labels == ("a",)


@pytest.mark.parametrize(("batch_size", "policy", "size"), [(-1, "aimd", None), (7, "fixed", 7)])
def test_a_batch_size_is_clippers(batch_size: int, policy: str, size: int | None) -> None:
    batch = model_spec("m", "1", InputType.DOUBLES, {"batch_size": batch_size}).batch
    assert (batch.policy, batch.size) == (policy, size)


@pytest.mark.parametrize("batch_size", [0, -2])
def test_a_batch_size_is_minus_one_or_positive(batch_size: int) -> None:
    with pytest.raises(BadInputError, match="expected -1"):
        model_spec("m", "1", InputType.DOUBLES, {"batch_size": batch_size})
