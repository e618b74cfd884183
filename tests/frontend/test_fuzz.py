"""Whatever is sent to the inference routes: never a 500, never a hang, and errors in JSON."""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skysail.frontend.inputs import PredictRequest
from skysail.topics.specs import BatchSpec, InputType
from tests.frontend.fakes import Stage, model, stage_of
from tests.frontend.fuzz import bodies, header_lengths, infer_bodies, must_be_an_honest_answer, predict_bodies

#: Far above what an answer takes, far below what a person would wait.
HANGS_S = 10
KINDS = [str(kind) for kind in InputType]
headers = st.fixed_dictionaries(
    {},
    optional={
        "content-encoding": st.sampled_from(["gzip", "deflate", "identity", "br", ""]),
        "accept-encoding": st.sampled_from(["gzip", "gzip;q=0", "*", ""]),
        "traceparent": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
        "x-request-id": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10),
    },
)


def ones(batch: Any) -> list[int]:
    return [1] * (len(next(iter(batch.values()))) if isinstance(batch, dict) else len(batch))


def echo(batch: Any) -> Any:
    return batch


@lru_cache
def stage(kind: str, *, declared: bool) -> Stage:
    """One for all examples: a stage without a test's fixture."""
    shapes = {"tensors": (("x", "FP32", (-1, -1)),), "doubles": (("x", "FP64", (-1, 2)),)}
    inputs = shapes.get(kind, ()) if declared else ()
    predict = echo if kind in {"tensors", "json", "strings"} else ones
    return stage_of(predict, model(kind=kind, inputs=inputs, batch=BatchSpec(max_rows=2)))


async def ask(kind: str, path: str, content: bytes, own: dict[str, str], *, declared: bool) -> tuple[int, bytes]:
    stage(kind, declared=declared).client.asked.clear()
    request = stage(kind, declared=declared).http.post(path, content=content, headers=own)
    response = await asyncio.wait_for(request, HANGS_S)
    return response.status_code, response.content


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(body=bodies(predict_bodies), own=headers, declared=st.booleans())
async def test_the_predict_route(kind: str, body: bytes, own: dict[str, str], *, declared: bool) -> None:
    status, content = await ask(kind, "/a/predict", body, own, declared=declared)
    must_be_an_honest_answer(status, content, fields={"error", "cause"})
    if status == 200:
        answer = json.loads(content)
        asked = msgspec.json.decode(
            body, type=PredictRequest
        )  # fields that nobody knows are skipped, whatever they hold
        if asked.input_batch is msgspec.UNSET:
            assert "output" in answer
        else:
            assert len(answer["batch_predictions"]) == len(asked.input_batch)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(
    body=bodies(infer_bodies),
    raw=st.binary(max_size=40),
    length=header_lengths,
    own=headers,
    declared=st.booleans(),
)
async def test_the_infer_route(
    kind: str, body: bytes, raw: bytes, length: str | None, own: dict[str, str], *, declared: bool
) -> None:
    if length is not None:
        own = own | {"inference-header-content-length": str(len(body)) if length == "7" else length}
    status, content = await ask(kind, "/v2/models/m/infer", body + raw, own, declared=declared)
    must_be_an_honest_answer(status, content, fields={"error"})


@pytest.mark.parametrize("kind", ["doubles", "tensors", "bytes"])
@settings(max_examples=60)
@given(
    arrays=st.dictionaries(st.sampled_from("xyz"), st.binary(max_size=40), min_size=1, max_size=3),
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=3, max_size=3),
    datatypes=st.lists(st.sampled_from(["FP64", "INT8", "BYTES", "BOOL", "FP16"]), min_size=3, max_size=3),
    off=st.sampled_from([0, 0, 0, -1, 1]),
)
async def test_binary_tensors_that_do_or_do_not_add_up(
    kind: str, arrays: dict[str, bytes], shapes: list[list[int]], datatypes: list[str], off: int
) -> None:
    inputs = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw) + off}}
        for (name, raw), shape, datatype in zip(arrays.items(), shapes, datatypes, strict=False)
    ]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    own = {"inference-header-content-length": str(len(header))}
    body = header + b"".join(arrays.values())
    status, content = await ask(kind, "/v2/models/m/infer", body, own, declared=False)
    must_be_an_honest_answer(status, content, fields={"error"})


@settings(max_examples=60)
@given(
    path=st.lists(st.sampled_from(["a", "m", "v2", "models", "versions", "1", "infer", "predict", "update", "", ".."]))
    .map("/".join)
    .map("/{}".format),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]),
)
async def test_any_path_by_any_method(path: str, method: str) -> None:
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(stage("doubles", declared=False).frontend(scope, receive, send), HANGS_S)
    assert sent[0]["status"] < 500 or sent[0]["status"] == 503  # 503: nobody serves the model
