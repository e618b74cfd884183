"""The first predicts, before anybody waits for one."""

from __future__ import annotations

from typing import Any

import pytest

from skysail.topics.errors import BadInputError, OutputLengthError
from skysail.topics.specs import InputType, ModelSpec, TensorSpec
from skysail.workers.warmup import warm_up
from tests.workers.samples import FunctionAsModel

VECTOR = (TensorSpec("input", "FP64", (-1, 3)),)


def warmed(function: Any, **fields: Any) -> list[Any]:
    model = FunctionAsModel(function)
    warm_up(model, ModelSpec(name="m", version="1", **fields))
    return model.batches


def echo(batch: Any) -> Any:
    return list(batch)


def refuse(_: Any) -> Any:
    raise RuntimeError


def test_the_sample_is_predicted_more_than_once() -> None:
    batches = warmed(echo, sample=[[1, 2], [3, 4]])
    assert len(batches) > 1
    assert batches[0].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_model_that_fails_on_its_sample_does_not_start() -> None:
    with pytest.raises(RuntimeError):
        warmed(refuse, sample=[[1, 2]])
    with pytest.raises(OutputLengthError):
        warmed(lambda _: [], sample=[[1, 2]])


def test_a_sample_that_is_no_input_of_the_model_is_refused() -> None:
    with pytest.raises(BadInputError):
        warmed(echo, sample=["text"])


def test_without_a_sample_a_row_of_zeros_is_made_up_where_shapes_are_known() -> None:
    assert warmed(echo, inputs=VECTOR)[0].tolist() == [[0.0, 0.0, 0.0]]
    tensors = (TensorSpec("x", "FP32", (-1, -1, 2)), TensorSpec("word", "BYTES", (-1,)))
    batch = warmed(lambda batch: batch["word"], inputs=tensors, input_type=InputType.TENSORS)[0]
    assert batch["x"].shape == (1, 1, 2)
    assert batch["word"].tolist() == [b""]


def test_a_model_may_refuse_a_made_up_row() -> None:
    assert len(warmed(refuse, inputs=VECTOR)) == 1


def test_where_nothing_is_known_nothing_is_called() -> None:
    assert warmed(echo, input_type=InputType.JSON) == []
