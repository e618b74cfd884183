"""Open Inference Protocol v2 inference in JSON: requests, answers and errors as the specification has them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from skysail.topics.payloads import TENSOR
from tests.frontend.fakes import Stage, model

MakeStage = Callable[..., Stage]


def echo(batch: Any) -> Any:
    return batch


def tensor(name: str, datatype: str, shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


def vectors(data: Any = ([1, 2], [3, 4])) -> dict[str, Any]:
    return {"inputs": [tensor("input", "FP64", [2, 2], [list(row) for row in data])]}


async def infer(stage: Stage, body: Any, path: str = "/v2/models/m/infer", **headers: str) -> Any:
    response = await stage.post(path, body, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def test_an_answer_has_model_version_and_outputs(make_stage: MakeStage) -> None:
    answer = await infer(make_stage(echo, model()), vectors())
    assert answer == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "output", "datatype": "FP64", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}],
    }


@pytest.mark.parametrize("request_id", ["42", "", "ünï", "a" * 500])
async def test_an_id_is_echoed(make_stage: MakeStage, request_id: str) -> None:
    answer = await infer(make_stage(echo, model()), {**vectors(), "id": request_id})
    assert answer["id"] == request_id


@pytest.mark.parametrize("absent", ["id", "parameters", "outputs"])
async def test_nulls_are_as_good_as_absent(make_stage: MakeStage, absent: str) -> None:
    answer = await infer(make_stage(echo, model()), {**vectors(), absent: None})
    assert "id" not in answer


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [1.0, 2, 3.0, 4], [[1], [2], [3], [4]]])
async def test_data_may_be_nested_or_flat(make_stage: MakeStage, data: Any) -> None:
    body = {"inputs": [tensor("x", "FP64", [2, 2], data)]}
    assert (await infer(make_stage(echo, model()), body))["outputs"][0]["data"] == [1, 2, 3, 4]


VALUES: list[tuple[str, list[Any]]] = [
    ("BOOL", [True, False]),
    ("UINT8", [0, 255]),
    ("UINT16", [0, 65535]),
    ("UINT32", [0, 2**32 - 1]),
    ("UINT64", [0, 2**64 - 1]),
    ("INT8", [-128, 127]),
    ("INT16", [-(2**15), 2**15 - 1]),
    ("INT32", [-(2**31), 2**31 - 1]),
    ("INT64", [-(2**63), 2**63 - 1]),
    ("FP16", [0.5, 65504.0]),
    ("FP32", [0.5, -3.0e38]),
    ("FP64", [0.1, 1e308]),
    ("BYTES", ["text", "grüße \U0001f600"]),
]


@pytest.mark.parametrize(("datatype", "values"), VALUES)
async def test_every_datatype_comes_back_as_it_went(make_stage: MakeStage, datatype: str, values: list[Any]) -> None:
    stage = make_stage(echo, model(kind="tensors"))
    answer = await infer(stage, {"inputs": [tensor("x", datatype, [2], values)]})
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("x", datatype, [2])
    assert output["data"] == pytest.approx(values) if datatype == "FP32" else output["data"] == values


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT8", "INT32", "INT64", "UINT8", "UINT64"])
@pytest.mark.parametrize("kind", ["doubles", "floats", "integers"])
async def test_a_model_of_vectors_takes_any_numeric_datatype_that_fits(
    make_stage: MakeStage, kind: str, datatype: str
) -> None:
    stage = make_stage(lambda batch: [[str(batch.dtype), *batch[0].tolist()]], model(kind=kind))
    answer = await infer(stage, {"inputs": [tensor("anything", datatype, [1, 2], [3, 4])]})
    dtype = {"doubles": "float64", "floats": "float32", "integers": "int32"}[kind]
    assert json.loads(answer["outputs"][0]["data"][0]) == [dtype, 3, 4]


@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize(("kind", "made"), [("strings", "str"), ("bytes", "bytes")])
async def test_models_of_text_and_bytes_take_a_bytes_tensor(
    make_stage: MakeStage, kind: str, made: str, shape: list[int]
) -> None:
    stage = make_stage(lambda batch: [f"{type(row).__name__}:{len(row)}" for row in batch], model(kind=kind))
    answer = await infer(stage, {"inputs": [tensor("x", "BYTES", shape, ["a", "bc"])]})
    assert answer["outputs"][0] == {
        "name": "output",
        "datatype": "BYTES",
        "shape": [2],
        "data": [f"{made}:1", f"{made}:2"],
    }


async def test_a_json_model_takes_texts_or_tensors(make_stage: MakeStage) -> None:
    stage = make_stage(lambda batch: [json.dumps(row, sort_keys=True) for row in batch], model(kind="json"))
    texts = await infer(stage, {"inputs": [tensor("x", "BYTES", [2], ['{"b": 1, "a": null}', "3"])]})
    assert texts["outputs"][0]["data"] == ['{"a": null, "b": 1}', "3"]
    one = await infer(stage, {"inputs": [tensor("x", "INT64", [2, 2], [1, 2, 3, 4])]})
    assert one["outputs"][0]["data"] == ["[1, 2]", "[3, 4]"]
    two = await infer(stage, {"inputs": [tensor("x", "INT64", [2], [1, 2]), tensor("y", "BYTES", [2], ["a", "b"])]})
    assert two["outputs"][0]["data"] == ['{"x": 1, "y": "a"}', '{"x": 2, "y": "b"}']


async def test_a_model_of_tensors_takes_what_it_declares_and_names_its_outputs(make_stage: MakeStage) -> None:
    spec = model(kind="tensors", inputs=(("a", "FP32", (-1, 2)), ("b", "INT64", (-1,))))

    def combine(batch: dict[str, Any]) -> dict[str, Any]:
        return {"sum": batch["a"].sum(axis=1) + batch["b"], "shape": np.array([[2, 2]] * len(batch["b"]), np.uint8)}

    stage = make_stage(combine, spec)
    body = {"inputs": [tensor("b", "INT64", [2], [10, 20]), tensor("a", "FP32", [2, 2], [[1, 2], [3, 4]])]}
    answer = await infer(stage, body)
    found = {output["name"]: (output["datatype"], output["shape"], output["data"]) for output in answer["outputs"]}
    assert found == {"sum": ("FP64", [2], [13.0, 27.0]), "shape": ("UINT8", [2, 2], [2, 2, 2, 2])}
    chosen = await infer(stage, {**body, "outputs": [{"name": "shape"}]})
    assert [output["name"] for output in chosen["outputs"]] == ["shape"]


async def test_a_lone_output_has_the_name_that_the_model_declares(make_stage: MakeStage) -> None:
    stage = make_stage(lambda batch: batch[:, 0], model(outputs=(("digit", "FP64", (-1,)),)))
    answer = await infer(stage, vectors())
    assert [output["name"] for output in answer["outputs"]] == ["digit"]
    listed = make_stage(lambda batch: [float(row[0]) for row in batch], model(outputs=(("digit", "FP64", (-1,)),)))
    assert (await infer(listed, vectors()))["outputs"] == answer["outputs"]


@pytest.mark.parametrize(
    ("outputs", "datatype", "shape", "data"),
    [
        ([1, 2], "INT64", [2], [1, 2]),
        ([1, 2.5], "FP64", [2], [1.0, 2.5]),
        ([True, False], "BOOL", [2], [True, False]),
        (["a", "b"], "BYTES", [2], ["a", "b"]),
        ([[1, 2], [3, 4]], "INT64", [2, 2], [1, 2, 3, 4]),
        ([["a", "b"], ["c", "d"]], "BYTES", [2, 2], ["a", "b", "c", "d"]),
        ([[1], [2, 3]], "BYTES", [2], ["[1]", "[2,3]"]),
        ([1, "a"], "BYTES", [2], ["1", '"a"']),
        ([True, 1], "BYTES", [2], ["true", "1"]),
        ([None, 1.5], "BYTES", [2], ["null", "1.5"]),
        ([{"a": 1}, {"b": [2]}], "BYTES", [2], ['{"a":1}', '{"b":[2]}']),
        ([2**70, 1], "BYTES", [2], [str(2**70), "1"]),
    ],
)
async def test_lists_become_tensors_where_they_can_and_texts_where_not(
    make_stage: MakeStage, outputs: list[Any], datatype: str, shape: list[int], data: list[Any]
) -> None:
    answer = await infer(make_stage(lambda _: outputs, model()), vectors())
    assert answer["outputs"] == [{"name": "output", "datatype": datatype, "shape": shape, "data": data}]


async def test_nan_and_infinities_are_null_in_json(make_stage: MakeStage) -> None:
    stage = make_stage(lambda batch: np.array([np.nan, np.inf]) + 0 * batch[:, 0], model())
    assert (await infer(stage, vectors()))["outputs"][0]["data"] == [None, None]


async def test_bytes_that_are_no_text_must_be_asked_for_as_binary(make_stage: MakeStage) -> None:
    def raw(batch: Any) -> Any:
        made = np.empty(len(batch), dtype=object)
        made[:] = [b"\xff\xfe"] * len(batch)
        return made

    response = await make_stage(raw, model()).post("/v2/models/m/infer", vectors())
    assert response.status_code == 400
    assert "binary_data" in response.json()["error"]


@pytest.mark.parametrize(
    ("timeout_us", "timeout_ms"),
    [(20_000, 20), (1, 1), (1999, 1), (0, 30_000), (None, 30_000), (10**30, 24 * 3600 * 1000)],
)
async def test_the_deadline_is_the_requests_or_the_frontends(
    make_stage: MakeStage, timeout_us: int | None, timeout_ms: int
) -> None:
    stage = make_stage(echo, model())
    await infer(stage, {**vectors(), "parameters": {"timeout": timeout_us}})
    assert stage.client.timeouts_ms == [timeout_ms]
    assert (stage.client.asked[0].accept, stage.client.asked[0].cache_ttl_s) == (TENSOR, 0)


async def test_unknown_parameters_are_ignored(make_stage: MakeStage) -> None:
    body = vectors()
    body["parameters"] = {"priority": 1, "sequence_id": 3, "content_type": "np"}
    body["inputs"][0]["parameters"] = {"content_type": "np"}
    await infer(make_stage(echo, model()), body)


async def test_a_version_may_be_named(make_stage: MakeStage) -> None:
    stage = make_stage(echo, [model(version="1"), model(version="2")])
    assert (await infer(stage, vectors()))["model_version"] == "1"
    assert (await infer(stage, vectors(), "/v2/models/m/versions/2/infer"))["model_version"] == "2"


@pytest.mark.parametrize("path", ["/v2/models/x/infer", "/v2/models/m/versions/3/infer"])
async def test_an_unknown_model_or_version_is_404(make_stage: MakeStage, path: str) -> None:
    response = await make_stage(echo, model()).post(path, vectors())
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


async def test_a_model_without_a_current_version_is_404(make_stage: MakeStage) -> None:
    stage = make_stage(echo, model())
    snapshot = stage.client.view.snapshot
    stage.client.view.snapshot = type(snapshot)(models=snapshot.models, whole=True)
    response = await stage.post("/v2/models/m/infer", vectors())
    assert (response.status_code, response.json()) == (404, {"error": "model 'm' has no current version"})
    await infer(stage, vectors(), "/v2/models/m/versions/1/infer")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_bodies_are_compressed_both_ways(make_stage: MakeStage, encoding: str) -> None:
    stage = make_stage(echo, model())
    rows = 500
    body = json.dumps({"inputs": [tensor("x", "FP64", [rows, 2], [1.5] * 2 * rows)]}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    headers = {"content-encoding": encoding, "accept-encoding": encoding}
    response = await stage.post("/v2/models/m/infer", content=packed, headers=headers)
    assert response.headers["content-encoding"] == encoding
    assert response.headers["vary"] == "accept-encoding"
    assert response.json()["outputs"][0]["data"] == [1.5] * 2 * rows  # unpacked by the client


async def test_an_answer_tells_where_its_time_went(make_stage: MakeStage) -> None:
    response = await make_stage(echo, model()).post("/v2/models/m/infer", vectors())
    assert response.headers["server-timing"].startswith("queue;dur=1.500, predict;dur=2.500, total;dur=")
