"""One input, from a request to its answer."""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from skysail.topics.payloads import JSON, TENSOR, decode_json, decode_tensors
from tests.frontend.fakes import Stage, app, model

MakeStage = Callable[..., Stage]
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def totals(batch: Any) -> list[float]:
    return [float(sum(row)) for row in batch]


def echo(batch: list[Any]) -> list[Any]:
    return batch


async def test_an_input_is_answered_in_clippers_form(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    response = await stage.predict({"input": [1.0, 2.5]})
    body = response.json()
    assert response.status_code == 200
    assert list(body) == ["query_id", "output", "default"]
    assert (body["output"], body["default"]) == (3.5, False)
    assert UUID7.fullmatch(body["query_id"])
    assert body["query_id"] == stage.client.asked[0].id


@pytest.mark.parametrize("path", ["/a/predict", "/a/predict/", "/%61/predict"])
async def test_the_route_is_found_with_a_slash_behind_and_in_percents(make_stage: MakeStage, path: str) -> None:
    assert (await make_stage(totals, model()).post(path, {"input": [1]})).status_code == 200


@pytest.mark.parametrize(
    ("kind", "given", "seen"),
    [
        ("doubles", [1, 2.5, -0.0, 1e300], [1.0, 2.5, -0.0, 1e300]),
        ("floats", [1, 2.5, 16777217], [1.0, 2.5, 16777216.0]),
        ("integers", [1, 2.0, -2147483648, 2147483647.0, 1e3], [1, 2, -2147483648, 2147483647, 1000]),
        ("strings", "grüße \u0000 \U0001f600", "grüße \u0000 \U0001f600"),
        ("strings", "", ""),
        ("json", {"b": [1, None, {"a": True}], "a": "x"}, {"b": [1, None, {"a": True}], "a": "x"}),
        ("json", None, None),
        ("json", 10**30, 10**30),
        ("json", [], []),
    ],
)
async def test_every_input_type_reaches_the_model_as_what_it_is(
    make_stage: MakeStage, kind: str, given: Any, seen: Any
) -> None:
    taken: list[Any] = []

    def note(batch: Any) -> list[int]:
        taken.extend(batch.tolist() if isinstance(batch, np.ndarray) else batch)
        return [0] * len(batch)

    response = await make_stage(note, model(kind=kind)).predict({"input": given})
    assert response.status_code == 200, response.text
    assert taken == [seen]


async def test_bytes_travel_as_base64(make_stage: MakeStage) -> None:
    taken: list[bytes] = []
    raw = bytes(range(256))

    def note(batch: list[bytes]) -> list[int]:
        taken.extend(batch)
        return [len(row) for row in batch]

    response = await make_stage(note, model(kind="bytes")).predict({"input": base64.b64encode(raw).decode()})
    assert response.json()["output"] == 256
    assert taken == [raw]


async def test_named_tensors_are_given_without_the_row_dimension(make_stage: MakeStage) -> None:
    spec = model(
        kind="tensors", inputs=(("image", "FP32", (-1, 2, 2)), ("label", "BYTES", (-1,)), ("n", "INT64", (-1, -1)))
    )

    def describe(batch: dict[str, Any]) -> list[Any]:
        return [{name: [str(array.dtype), list(array.shape)] for name, array in batch.items()}]

    stage = make_stage(describe, spec)
    given = {"image": [[1, 2], [3, 4]], "label": "a", "n": [7, 8.0, 9]}
    response = await stage.predict({"input": given})
    assert response.json()["output"] == {
        "image": ["float32", [1, 2, 2]],
        "label": ["object", [1]],
        "n": ["int64", [1, 3]],
    }


async def test_tensors_that_nobody_declared_take_the_types_of_their_values(make_stage: MakeStage) -> None:
    stage = make_stage(lambda batch: [{name: str(array.dtype) for name, array in batch.items()}], model(kind="tensors"))
    response = await stage.predict({"input": {"i": [1, 2], "f": [1, 2.5], "b": [True], "s": ["x"]}})
    assert response.json()["output"] == {"i": "int64", "f": "float64", "b": "bool", "s": "object"}


async def test_numbers_travel_as_one_tensor_and_other_rows_as_json(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    await stage.predict({"input": [1, 2]})
    query = stage.client.asked[0]
    assert (query.content_type, query.rows, query.accept) == (TENSOR, 1, JSON)
    assert decode_tensors(query.payload)["input"].tolist() == [[1.0, 2.0]]
    texts = make_stage(echo, model(kind="strings"))
    await texts.predict({"input": "x"})
    assert (texts.client.asked[0].content_type, decode_json(texts.client.asked[0].payload)) == (JSON, ["x"])


@pytest.mark.parametrize("output", [3, 2.5, "text", None, True, [1, [2]], {"a": {"b": []}}, "\u2028</script>"])
async def test_an_output_is_any_json_value(make_stage: MakeStage, output: Any) -> None:
    response = await make_stage(lambda batch: [output] * len(batch), model()).predict({"input": [1]})
    assert response.json()["output"] == output


async def test_nan_and_infinities_of_a_model_are_null(make_stage: MakeStage) -> None:
    response = await make_stage(lambda _: [[float("nan"), float("inf"), 1.0]], model()).predict({"input": [1]})
    assert response.json()["output"] == [None, None, 1.0]


async def test_the_answer_says_who_gave_it_and_how_long_it_took(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    response = await stage.predict({"input": [1]})
    headers = response.headers
    assert headers["content-type"] == "application/json"
    assert headers["x-cache"] == "MISS"
    assert headers["skysail-model-version"] == "1"
    assert headers["x-request-id"] == response.json()["query_id"]
    timing = dict(part.strip().split(";dur=") for part in headers["server-timing"].split(","))
    assert (float(timing["queue"]), float(timing["predict"])) == (1.5, 2.5)
    assert float(timing["total"]) >= 0
    stage.client.source = "shared-cache"
    assert (await stage.predict({"input": [1]})).headers["x-cache"] == "HIT"


@pytest.mark.parametrize("path", ["/a/predict", "/a/update", "/v2/models/m/infer", "/livez", "/nowhere", "/x/predict"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_answer_carries_the_callers_request_id(make_stage: MakeStage, path: str, method: str) -> None:
    stage = make_stage(totals, model())
    response = await stage.http.request(method, path, headers={"X-Request-Id": "abc-123"})
    assert response.headers.get_list("x-request-id") == ["abc-123"]
    own = (await stage.http.request(method, path)).headers["x-request-id"]
    assert UUID7.fullmatch(own)


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "\u00e9"])
async def test_a_request_id_that_is_not_fit_for_a_log_is_replaced(make_stage: MakeStage, given: str) -> None:
    stage = make_stage(totals, model())
    response = await stage.predict({"input": [1]}, headers=[(b"x-request-id", given.encode())])
    assert UUID7.fullmatch(response.headers["x-request-id"])


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), None),
        (f"ff{TRACE[2:]}", None),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", None),
        ("x" * 60_000, None),
        ("", None),
    ],
)
async def test_a_valid_trace_context_goes_along(make_stage: MakeStage, given: str, passed: str | None) -> None:
    stage = make_stage(totals, model())
    for path, body in (
        ("/a/predict", {"input": [1]}),
        ("/a/predict", {"input_batch": [[1], [2]]}),
        ("/v2/models/m/infer", {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}),
    ):
        assert (await stage.post(path, body, headers={"traceparent": given})).status_code == 200
    assert [query.traceparent for query in stage.client.asked] == [passed] * 3


@pytest.mark.parametrize("version", ["2", 2])
async def test_a_request_may_name_a_version(make_stage: MakeStage, version: object) -> None:
    stage = make_stage(totals, [model(version="1"), model(version="2")])
    assert (await stage.predict({"input": [1]})).headers["skysail-model-version"] == "1"
    assert (await stage.predict({"input": [1], "version": version})).headers["skysail-model-version"] == "2"
    assert (await stage.predict({"input": [1], "version": None})).headers["skysail-model-version"] == "1"


async def test_a_promotion_is_followed(make_stage: MakeStage) -> None:
    stage = make_stage(totals, [model(version="1"), model(version="2")])
    await stage.predict({"input": [1]})
    snapshot = stage.client.view.snapshot
    stage.client.view.snapshot = type(snapshot)(snapshot.apps, snapshot.models, snapshot.links, {"m": "2"}, whole=True)
    assert (await stage.predict({"input": [1]})).headers["skysail-model-version"] == "2"


async def test_deadline_and_cache_are_the_applications(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model(), app(latency_slo_micros=20_000, cache_ttl_s=7))
    await stage.predict({"input": [1]})
    assert stage.client.timeouts_ms == [20]
    assert stage.client.asked[0].cache_ttl_s == 7


@pytest.mark.parametrize(("micros", "ms"), [(1, 1), (999, 1), (10**18, 24 * 3600 * 1000)])
async def test_a_deadline_is_at_least_a_millisecond_and_at_most_a_day(
    make_stage: MakeStage, micros: int, ms: int
) -> None:
    stage = make_stage(totals, model(), app(latency_slo_micros=micros))
    await stage.predict({"input": [1]})
    assert stage.client.timeouts_ms == [ms]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_a_body_may_be_compressed(make_stage: MakeStage, encoding: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "identity": lambda body: body,
    }
    body = pack[encoding](b'{"input": [1, 2]}' + b" " * 5000)
    headers = {"content-encoding": encoding}
    response = await make_stage(totals, model()).post("/a/predict", content=body, headers=headers)
    assert response.json()["output"] == 3.0


async def test_unknown_fields_are_ignored_and_the_last_of_two_counts(make_stage: MakeStage) -> None:
    stage = make_stage(totals, model())
    response = await stage.post("/a/predict", content=b'{"input": [1], "uid": 7, "x": {}, "input": [2]}')
    assert response.json()["output"] == 2.0
