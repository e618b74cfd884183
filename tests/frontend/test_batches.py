"""Several inputs in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from skysail.topics.errors import RejectedError, SkysailError, UnavailableError
from skysail.topics.payloads import JSON, TENSOR
from skysail.topics.records import Query
from skysail.topics.specs import BatchSpec
from tests.frontend.fakes import Stage, app, model

MakeStage = Callable[..., Stage]


def totals(batch: Any) -> list[float]:
    return [float(sum(row)) for row in batch]


def picky(batch: Any) -> list[float]:
    """Raises on a row that begins with 13."""
    for row in batch:
        if len(row) and row[0] == 13:
            message = "thirteen is not for me"
            raise ValueError(message)
    return totals(batch)


def outputs(body: dict[str, Any]) -> list[Any]:
    return [entry["output"] for entry in body["batch_predictions"]]


async def test_a_batch_has_one_entry_for_each_input_in_order(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    response = await stage.predict({"input_batch": [[1, 2], [3, 4], [5, 6]]})
    body = response.json()
    assert response.status_code == 200
    assert outputs(body) == [3, 7, 11]
    assert [list(entry) for entry in body["batch_predictions"]] == [["query_id", "output", "default"]] * 3
    assert len({entry["query_id"] for entry in body["batch_predictions"]}) == 3
    assert (len(stage.client.asked), stage.client.asked[0].rows) == (1, 3)
    assert response.headers["skysail-model-version"] == "1"
    assert response.headers["x-cache"] == "MISS"


async def test_a_batch_of_one_stays_a_batch(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    body = (await stage.predict({"input_batch": [[1, 2]]})).json()
    assert list(body) == ["batch_predictions"]
    assert body["batch_predictions"] == [{"query_id": stage.client.asked[0].id, "output": 3.0, "default": False}]


async def test_rows_of_unequal_length_travel_as_json_and_are_all_answered(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    assert outputs((await stage.predict({"input_batch": [[1], [2, 3], []]})).json()) == [1, 5, 0]
    assert stage.client.asked[0].content_type == JSON
    await stage.predict({"input_batch": [[1], [2]]})
    assert stage.client.asked[1].content_type == TENSOR


async def test_a_batch_larger_than_the_largest_travels_in_parts(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model(batch=BatchSpec(max_rows=4)))
    body = (await stage.predict({"input_batch": [[i] for i in range(10)]})).json()
    assert outputs(body) == list(range(10))
    assert [query.rows for query in stage.client.asked] == [4, 4, 2]
    assert len({entry["query_id"] for entry in body["batch_predictions"]}) == 10


async def test_a_row_that_makes_the_model_raise_fails_alone(make_stage: MakeStage) -> None:
    stage = make_stage(picky, model())
    response = await stage.predict({"input_batch": [[1], [13], [2]]})
    entries = response.json()["batch_predictions"]
    assert response.status_code == 200
    assert [entry["output"] for entry in entries] == [1, None, 2]
    assert entries[1] | {"query_id": ""} == {
        "query_id": "",
        "output": None,
        "default": False,
        "error": "Model error",
        "cause": "thirteen is not for me",
    }
    assert [query.rows for query in stage.client.asked] == [3, 1, 1, 1]


async def test_rows_are_asked_alone_within_what_is_left_of_the_deadline(make_stage: MakeStage) -> None:
    stage = make_stage(picky, model(), app(latency_slo_micros=60_000_000))
    await stage.predict({"input_batch": [[13], [2]]})
    first, *alone = stage.client.timeouts_ms
    assert first == 60_000
    assert all(0 < timeout_ms <= 60_000 for timeout_ms in alone)


async def test_out_of_time_a_failed_part_is_not_asked_again(make_stage: MakeStage) -> None:
    stage = make_stage(picky, model(), app(latency_slo_micros=1))
    original = stage.client.ask

    async def slow(*arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0.01)
        return await original(*arguments, **options)

    stage.client.ask = slow  # type: ignore[method-assign]
    response = await stage.predict({"input_batch": [[13], [2]]})
    assert response.status_code == 504
    assert len(stage.client.asked) == 1
    assert "thirteen" in response.json()["batch_predictions"][0]["cause"]


async def test_a_default_output_stands_in_entry_by_entry(make_stage: MakeStage) -> None:
    stage = make_stage(picky, model(), app(default="?"))
    entries = (await stage.predict({"input_batch": [[13], [2]]})).json()["batch_predictions"]
    assert [(entry["output"], entry["default"]) for entry in entries] == [("?", True), (2, False)]
    assert entries[0]["default_explanation"] == "thirteen is not for me"


@pytest.mark.parametrize(
    ("outcome", "status", "title"),
    [
        ("bad_input", 400, "Query processing error"),
        ("model_error", 500, "Model error"),
        ("expired", 504, "Deadline exceeded"),
    ],
)
async def test_a_batch_without_any_prediction_has_the_status_of_its_failure(
    make_stage: MakeStage, outcome: str, status: int, title: str
) -> None:
    stage = make_stage(totals, model())
    stage.client.answers = lambda _: (outcome, "so it is")
    response = await stage.predict({"input_batch": [[1], [2]]})
    body = response.json()
    assert (response.status_code, body["error"]) == (status, title)
    assert "so it is" in body["cause"]
    assert [entry["error"] for entry in body["batch_predictions"]] == [title, title]


async def test_bad_input_is_not_made_a_success_by_a_default_that_does_not_cover_it(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model(), app(default=0))
    stage.client.answers = lambda _: ("bad_input", "no")
    assert (await stage.predict({"input_batch": [[1], [2]]})).status_code == 400


@pytest.mark.parametrize(("error", "status"), [(RejectedError("full", 2), 429), (UnavailableError("away"), 503)])
async def test_a_batch_that_was_not_taken_says_when_to_try_again(
    make_stage: MakeStage, error: SkysailError, status: int
) -> None:
    stage = make_stage(totals, model(), app(default=0))
    stage.client.refuse = lambda _: error
    response = await stage.predict({"input_batch": [[1], [2]]})
    assert response.status_code == status
    assert response.headers["retry-after"] in {"1", "2"}
    assert [entry["cause"] for entry in response.json()["batch_predictions"]] == [str(error)] * 2


async def test_the_parts_that_were_taken_are_answered_though_others_were_not(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model(batch=BatchSpec(max_rows=2)))

    order: list[int] = []

    def by_turn(query: Query) -> SkysailError | None:
        order.append(query.rows or 0)
        return RejectedError("full") if len(order) == 2 else None

    stage.client.refuse = by_turn
    response = await stage.predict({"input_batch": [[1], [2], [3], [4], [5]]})
    entries = response.json()["batch_predictions"]
    assert response.status_code == 200
    assert [entry["output"] for entry in entries] == [1, 2, None, None, 5]
    assert [entry.get("error") for entry in entries][2:4] == ["Too many queries in flight"] * 2


@pytest.mark.parametrize(
    ("kind", "batch", "where"),
    [
        ("integers", [[1], [2], [2**31]], "row 2"),
        ("floats", [[1], [2], [1e39]], "row 2"),
        ("floats", [[1, 2], [1e39]], "row 1"),
        ("integers", [[1, 2], [2**40]], "row 1"),
    ],
)
async def test_nothing_is_sent_of_a_batch_with_a_row_that_cannot_be_encoded(
    make_stage: MakeStage, kind: str, batch: Any, where: str
) -> None:
    stage = make_stage(totals, model(kind=kind, batch=BatchSpec(max_rows=2)))
    response = await stage.predict({"input_batch": batch})
    assert response.status_code == 400
    assert where in response.json()["cause"]
    assert stage.client.asked == []


async def test_a_row_of_the_wrong_width_is_named_by_its_place_in_the_request(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model(inputs=(("x", "FP64", (-1, 2)),), batch=BatchSpec(max_rows=2)))
    response = await stage.predict({"input_batch": [[1, 2], [1, 2], [1, 2], [1]]})
    assert response.json()["cause"] == "model m takes 2 numbers in a row, row 3 has 1"


async def test_a_batch_from_the_cache_says_so(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    stage.client.source = "local-cache"
    assert (await stage.predict({"input_batch": [[1]]})).headers["x-cache"] == "HIT"
