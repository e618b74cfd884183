"""From works to answers: each query fails alone, and everything is told to who waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from skysail.topics.payloads import JSON, TENSOR, decode_tensors
from skysail.topics.records import Query
from skysail.topics.specs import BatchSpec, InputType, ModelSpec, TensorSpec
from skysail.workers import execution
from skysail.workers.execution import Executor
from skysail.workers.finished import Finished
from skysail.workers.work import Work
from tests.workers.samples import (
    FunctionAsModel,
    an_idle_keeper,
    outcomes_of,
    query_of,
    values_of,
    vector_query,
    work_of,
)


class Run:
    """An executor on a function, and what came of one batch."""

    def __init__(self, function: Callable[[Any], Any], *works: Work, **spec: Any) -> None:
        self.model = FunctionAsModel(function)
        self.observed: list[int] = []
        self.finished = Finished()
        fields = {"name": "m", "version": "1", "input_type": InputType.DOUBLES} | spec
        executor = Executor(
            ModelSpec(**fields), self.model, an_idle_keeper(), lambda rows, _: self.observed.append(rows)
        )
        executor.run(works, self.finished)

    @property
    def outcomes(self) -> dict[str, str]:
        return outcomes_of(self.finished)

    def answer(self, query_id: str) -> Any:
        return json.loads(values_of(self.finished)[query_id])

    def cause(self, query_id: str) -> str:
        return values_of(self.finished)[query_id].decode()


def sums(batch: Any) -> Any:
    return batch.sum(axis=1)


def vectors(count: int) -> list[Work]:
    return [work_of(vector_query(float(i), 1.0, query_id=f"q{i}"), i) for i in range(count)]


def test_every_query_gets_its_own_outputs_from_one_call() -> None:
    many = work_of(query_of([[1, 1], [2, 2]], "many", rows=2))
    run = Run(sums, *vectors(3), many)
    assert len(run.model.batches) == 1
    assert [run.answer(f"q{i}") for i in range(3)] == [[1.0], [2.0], [3.0]]
    assert run.answer("many") == [2.0, 4.0]
    assert run.finished.rows == 5
    assert run.observed == [5]


def test_a_bad_input_fails_alone_and_never_reaches_the_model() -> None:
    bad = work_of(query_of("text", "bad"))
    run = Run(sums, *vectors(2), bad)
    assert run.outcomes == {"q0": "ok", "q1": "ok", "bad": "bad_input"}
    assert "expected one row of doubles" in run.cause("bad")
    assert not run.finished.dead_letters
    assert [len(batch) for batch in run.model.batches] == [2]


def test_an_undecodable_payload_is_answered_and_goes_to_the_dead_letters() -> None:
    run = Run(sums, work_of(Query("bad", b"{", JSON, None)))
    assert run.outcomes == {"bad": "bad_input"}
    assert [letter.reason for letter in run.finished.dead_letters] == ["undecodable"]
    assert not run.model.batches


def fails_on_three(batch: Any) -> Any:
    if (batch[:, 0] == 3).any():
        message = "three is not my number"
        raise ValueError(message)
    return batch.sum(axis=1)


def test_a_query_on_which_the_model_raises_fails_alone() -> None:
    run = Run(fails_on_three, *vectors(8))
    assert run.outcomes == {f"q{i}": "model_error" if i == 3 else "ok" for i in range(8)}
    assert run.cause("q3") == "ValueError: three is not my number"
    assert run.answer("q4") == [5.0]


def test_no_answer_holds_a_traceback() -> None:
    run = Run(fails_on_three, *vectors(4))
    assert "Traceback" not in run.cause("q3")
    assert "test_execution" not in run.cause("q3")


def test_a_broken_exception_class_is_survived() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def raise_broken(_: Any) -> Any:
        raise BrokenError

    run = Run(raise_broken, *vectors(1))
    assert run.outcomes == {"q0": "model_error"}
    assert run.cause("q0").startswith("BrokenError")


def test_a_wrong_number_of_outputs_is_the_models_error_and_both_numbers_are_named() -> None:
    run = Run(lambda batch: batch.sum(axis=1)[:-1], *vectors(2))
    assert set(run.outcomes.values()) == {"model_error"}
    assert run.cause("q0") == "predict was given 1 rows and returned 0 outputs; it must return one for each row"


def test_an_output_that_cannot_be_written_fails_its_query_alone() -> None:
    run = Run(lambda batch: [object() if row[0] == 1 else float(row[0]) for row in batch], *vectors(3))
    assert run.outcomes == {"q0": "ok", "q1": "model_error", "q2": "ok"}
    assert "no JSON form" in run.cause("q1")


def test_an_answer_larger_than_a_record_may_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "LARGEST_ANSWER_BYTES", 100)
    run = Run(lambda batch: ["x" * int(row[0] * 100) for row in batch], *vectors(2))
    assert run.outcomes == {"q0": "ok", "q1": "model_error"}
    assert run.cause("q1") == "the answer takes 104 bytes; the most is 100"


def test_tensors_are_sent_to_who_asks_for_them_only() -> None:
    wants = work_of(vector_query(1.0, 2.0, query_id="wants", accept=TENSOR))
    run = Run(sums, wants, *vectors(1), outputs=(TensorSpec("total", "FP64", (-1,)),))
    replies = {reply.id: reply for _, reply in run.finished.answers}
    assert replies["wants"].tensor
    assert decode_tensors(replies["wants"].value)["total"].tolist() == [3.0]
    assert not replies["q0"].tensor


def test_who_asks_for_tensors_gets_json_where_there_are_none() -> None:
    run = Run(lambda batch: ["a"] * len(batch), work_of(vector_query(1.0, query_id="q", accept=TENSOR)))
    assert run.answer("q") == ["a"]


@pytest.mark.parametrize("batch", [BatchSpec(max_rows=3), BatchSpec(policy="fixed", size=3)], ids=["largest", "fixed"])
def test_a_query_of_more_rows_than_the_largest_batch_runs_in_parts(batch: BatchSpec) -> None:
    rows = [[i, i] for i in range(8)]
    run = Run(sums, work_of(query_of(rows, "big", rows=8)), batch=batch)
    assert run.answer("big") == [2.0 * i for i in range(8)]
    assert [len(part) for part in run.model.batches] == [3, 3, 2]


def test_tensors_of_unequal_shapes_run_in_calls_of_their_own() -> None:
    def widths(batch: dict[str, Any]) -> Any:
        return np.full(len(batch["x"]), batch["x"].shape[1])

    works = [work_of(query_of([{"x": [0.0] * width}], f"w{width}", rows=1)) for width in (2, 3)]
    run = Run(widths, *works, input_type=InputType.TENSORS)
    assert (run.answer("w2"), run.answer("w3")) == ([2], [3])
    assert len(run.model.batches) == 2


def test_the_time_in_predict_is_told() -> None:
    finished = Run(sums, *vectors(1)).finished
    assert finished.predict_us >= 0
    assert all(reply.queue_us >= 0 for _, reply in finished.answers)
