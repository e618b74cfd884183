"""Clipper 0.4's query REST API, case by case: request, status, body.

From Clipper's `query_frontend.hpp` and `json_util.cpp`. What is mended on purpose stands in a table of its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.frontend.fakes import Stage, app, model

MakeStage = Callable[..., Stage]

APPS = {
    "ints": "integers",
    "floats": "floats",
    "doubles": "doubles",
    "bytes": "bytes",
    "strings": "strings",
}
#: Anything that the test does not fix: the query's id, or the rest of a text.
ID = re.compile(r"[0-9a-f-]{36}(-\d+)?")


def describe(batch: Any) -> list[str]:
    """What a Clipper container would answer: one string for each input."""
    return [f"{type(row).__name__}:{len(row)}" for row in batch]


def sums(batch: Any) -> list[float]:
    return [float(sum(row)) for row in batch]


def entry(output: Any, **more: Any) -> dict[str, Any]:
    return {"query_id": ID, "output": output, "default": False, **more}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


#: Application, request, answer; the status is 200.
ANSWERED = [
    ("ints", {"input": [1, 2, 3]}, entry("ndarray:3")),
    ("ints", {"input": [-2147483648, 2147483647]}, entry("ndarray:2")),
    ("floats", {"input": [1.0, 2.5]}, entry("ndarray:2")),
    ("doubles", {"input": [1.0, 2.5, 1e-300]}, entry("ndarray:3")),
    ("doubles", {"input": []}, entry("ndarray:0")),
    ("bytes", {"input": b64(b"\x00\xff\x10")}, entry("bytes:3")),
    ("bytes", {"input": ""}, entry("bytes:0")),
    ("strings", {"input": "hello"}, entry("str:5")),
    ("strings", {"input": "nul\u0000inside"}, entry("str:10")),
    ("doubles", {"input": [1.0], "uid": 3, "unknown": {"field": []}}, entry("ndarray:1")),
    ("doubles", {"input": [1.0], "version": "1"}, entry("ndarray:1")),
    (
        "doubles",
        {"input_batch": [[1.0], [1.0, 2.0], [3.0]]},
        {"batch_predictions": [entry("ndarray:1"), entry("ndarray:2"), entry("ndarray:1")]},
    ),
    ("ints", {"input_batch": [[1], [2]]}, {"batch_predictions": [entry("ndarray:1"), entry("ndarray:1")]}),
    ("floats", {"input_batch": [[1.0], [2.0]]}, {"batch_predictions": [entry("ndarray:1"), entry("ndarray:1")]}),
    ("strings", {"input_batch": ["a", "bc"]}, {"batch_predictions": [entry("str:1"), entry("str:2")]}),
    ("bytes", {"input_batch": [b64(b"a"), b64(b"bc")]}, {"batch_predictions": [entry("bytes:1"), entry("bytes:2")]}),
]

#: Where Clipper answers otherwise, and why this does not.
MENDED = [
    # Clipper's doubles must have a decimal point: 400.
    ("doubles", {"input": [1, 2]}, entry("ndarray:2")),
    ("ints", {"input": [1.0, 2.0]}, entry("ndarray:2")),
    # Clipper answers a batch of one with the bare entry.
    ("doubles", {"input_batch": [[1.0]]}, {"batch_predictions": [entry("ndarray:1")]}),
    # Clipper's version is a string only.
    ("doubles", {"input": [1.0], "version": 1}, entry("ndarray:1")),
]


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """One application of each of Clipper's input types, each linked to a model of that type."""
    models = [model(name, kind=kind) for name, kind in APPS.items()]
    apps = [app(name, kind) for name, kind in APPS.items()]
    return make_stage(describe, models, apps, links={name: (name,) for name in APPS})


@pytest.mark.parametrize(("name", "request_body", "answer"), ANSWERED + MENDED)
async def test_a_query_is_answered(stage: Stage, name: str, request_body: Any, answer: Any) -> None:
    response = await stage.post(f"/{name}/predict", request_body)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert_like(response.json(), answer)


def assert_like(got: Any, wanted: Any) -> None:
    if isinstance(wanted, re.Pattern):
        assert isinstance(got, str)
        assert wanted.fullmatch(got), f"{got!r} is not like {wanted.pattern!r}"
    elif isinstance(wanted, dict):
        assert list(got) == list(wanted)
        for key, value in wanted.items():
            assert_like(got[key], value)
    elif isinstance(wanted, list):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert_like(one, other)
    else:
        assert got == wanted


JSON_ERROR = {
    "error": "Json error",
    "cause": re.compile(r"Error parsing JSON: .+\. Expected JSON schema: .+", re.DOTALL),
}

REFUSED = [
    ("doubles", b""),
    ("doubles", b"not json"),
    ("doubles", b'{"input": [1.0'),
    ("doubles", b"[1.0]"),
    ("doubles", b"{}"),
    ("doubles", b'{"inputs": [1.0]}'),
    ("doubles", b'{"input": 1.0}'),
    ("doubles", b'{"input": "1.0"}'),
    ("doubles", b'{"input": ["1.0"]}'),
    ("doubles", b'{"input": {"x": 1.0}}'),
    ("doubles", b'{"input": null}'),
    ("doubles", b'{"input_batch": 1.0}'),
    ("doubles", b'{"input_batch": [1.0]}'),
    ("ints", b'{"input": [1.5]}'),
    ("ints", b'{"input": ["a"]}'),
    ("floats", b'{"input": [true]}'),
    ("strings", b'{"input": 5}'),
    ("strings", b'{"input": ["a"]}'),
    ("strings", b'{"input_batch": [1]}'),
    ("bytes", b'{"input": 5}'),
    ("bytes", b'{"input_batch": [["a"]]}'),
    # Clipper: "Requested version: …" needs a parsable request as well.
    ("doubles", b'{"version": "1"}'),
]


@pytest.mark.parametrize(("name", "body"), REFUSED)
async def test_a_query_that_cannot_be_read_is_a_json_error(stage: Stage, name: str, body: bytes) -> None:
    response = await stage.post(f"/{name}/predict", content=body)
    assert response.status_code == 400
    assert_like(response.json(), JSON_ERROR)


async def test_an_unknown_version_is_a_query_processing_error(stage: Stage) -> None:
    response = await stage.post("/doubles/predict", {"input": [1.0], "version": "2"})
    assert response.status_code == 400
    assert response.json() == {
        "error": "Query processing error",
        "cause": "Requested version: 2 does not exist for model: doubles",
    }


async def test_a_version_cannot_be_chosen_between_several_models(make_stage: MakeStage) -> None:
    stage = make_stage(sums, [model("x"), model("y")], app("both"), links={"both": ("x", "y")})
    response = await stage.post("/both/predict", {"input": [1.0], "version": "1"})
    assert response.status_code == 400
    assert response.json()["error"] == "Query processing error"
    assert response.json()["cause"].startswith("Too many models linked to application both")
    assert (await stage.post("/both/predict", {"input": [1.0]})).status_code == 200


async def test_a_version_of_no_model_is_a_query_processing_error(make_stage: MakeStage) -> None:
    # Clipper reads the first of no models: undefined behaviour.
    stage = make_stage(sums, model("x"), app("none"), links={})
    response = await stage.post("/none/predict", {"input": [1.0], "version": "1"})
    assert (response.status_code, response.json()["error"]) == (400, "Query processing error")


async def test_a_default_output_comes_with_its_explanation(make_stage: MakeStage) -> None:
    apps = [app("linked", default="-1.0"), app("unlinked", default="-1.0")]
    stage = make_stage(sums, model("x"), apps, links={"linked": ("x",)})
    unlinked = await stage.post("/unlinked/predict", {"input": [1.0]})
    stage.client.answers = lambda _: ("expired", "no prediction within 20 ms")
    late = await stage.post("/linked/predict", {"input": [1.0]})
    for response, explanation in (
        (unlinked, "No connected models found for query"),
        (late, "Failed to retrieve a prediction response within the specified latency SLO"),
    ):
        body = response.json()
        assert response.status_code == 200
        assert list(body) == ["query_id", "output", "default", "default_explanation"]
        assert (body["output"], body["default"]) == ("-1.0", True)
        assert body["default_explanation"].startswith(explanation)


@pytest.mark.parametrize(
    ("text", "output"),
    [("[1, 2]", "[1, 2]"), ("plain", "plain"), ('{"a": 1}', '{"a": 1}'), ("3", "3")],
)
async def test_a_text_that_a_model_returns_stays_text(make_stage: MakeStage, text: str, output: str) -> None:
    # Clipper's outputs are all strings, and what parses as JSON is nested. Here a model returns what it means.
    stage = make_stage(lambda batch: [text] * len(batch), model())
    assert (await stage.predict({"input": [1.0]})).json()["output"] == output


@pytest.mark.parametrize("uid", [0, 123456789, "0"])
@pytest.mark.parametrize("label", [1.0, 1, "cat"])
async def test_feedback_is_received(stage: Stage, uid: Any, label: Any) -> None:
    response = await stage.post("/doubles/update", {"uid": uid, "input": [1.0, 2.0], "label": label})
    assert (response.status_code, response.text) == (200, "Feedback received? 1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"uid": 0, "input": [1.0]}',
        b'{"uid": 0, "label": 1.0}',
        b'{"uid": {}, "input": [1.0], "label": 1.0}',
        b'{"uid": 0, "input": ["a"], "label": 1.0}',
    ],
)
async def test_feedback_that_cannot_be_read_is_a_400(stage: Stage, body: bytes) -> None:
    assert (await stage.post("/doubles/update", content=body)).status_code == 400


async def test_an_unknown_application_is_a_404(stage: Stage) -> None:
    for path in ("/nobody/predict", "/nobody/update"):
        response = await stage.post(path, {"uid": 0, "input": [1.0], "label": 1.0})
        assert response.status_code == 404


async def test_metrics_are_at_the_same_place(stage: Stage) -> None:
    assert (await stage.get("/metrics")).status_code == 200
