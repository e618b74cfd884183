"""Bad input, tried on both inference routes: each case a 400 that says what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.frontend.fakes import Stage, model

MakeStage = Callable[..., Stage]


def ones(batch: Any) -> list[int]:
    return [1] * (len(next(iter(batch.values()))) if isinstance(batch, dict) else len(batch))


DEEP = b"[" * 100_000 + b"]" * 100_000
CLIPPER = [
    # input type, body, what the cause names
    ("doubles", b"", "truncated"),
    ("doubles", b"{", "truncated"),
    ("doubles", b"nonsense", "invalid character"),
    ("doubles", b"\xff\xfe\x00", "invalid character"),
    ("doubles", b'{"input": [1]} {}', "trailing"),
    ("doubles", b"[]", "Expected `object`, got `array`"),
    ("doubles", b"null", "Expected `object`, got `null`"),
    ("doubles", b"{}", "neither input nor input_batch"),
    ("doubles", b'{"data": [1]}', "neither input nor input_batch"),
    ("doubles", b'{"input": [1], "input_batch": [[1]]}', "both input and input_batch"),
    ("doubles", b'{"input": 1}', "an array of numbers"),
    ("doubles", b'{"input": null}', "an array of numbers"),
    ("doubles", b'{"input": "[1]"}', "an array of numbers"),
    ("doubles", b'{"input": ["1"]}', "Expected `float`, got `str` - at `$.input[0]`"),
    ("doubles", b'{"input": [1, null]}', "at `$.input[1]`"),
    ("doubles", b'{"input": [true]}', "Expected `float`, got `bool`"),
    ("doubles", b'{"input": [[1]]}', "Expected `float`, got `array`"),
    ("doubles", b'{"input": [NaN]}', "invalid character"),
    ("doubles", b'{"input": [Infinity]}', "invalid character"),
    ("doubles", b'{"input": [-Infinity]}', "invalid"),
    ("doubles", b'{"input": [1e999]}', "out of range"),
    ("doubles", b'{"input": [1' + b"0" * 400 + b"]}", "out of range"),
    ("doubles", b'{"input": [0x10]}', "malformed"),
    ("doubles", b'{"input": [01]}', "invalid"),
    ("doubles", b'{"input": [1,]}', "malformed"),
    ("doubles", b'{"input_batch": []}', "input_batch is empty"),
    ("doubles", b'{"input_batch": [1]}', "at `$.input_batch[0]`"),
    ("doubles", b'{"input_batch": [[1], [1, "x"]]}', "at `$.input_batch[1][1]`"),
    ("doubles", b'{"input_batch": [[1], null]}', "at `$.input_batch[1]`"),
    ("doubles", b'{"input_batch": {}}', "Expected `array`, got `object` - at `$.input_batch`"),
    ("doubles", b'{"input": ' + DEEP + b"}", "an array of numbers"),
    ("doubles", b'{"input": [1], "x": ' + DEEP + b"}", "an array of numbers"),
    ("doubles", b'{"input": [1], "version": 1.5}', "at `$.version`"),
    ("doubles", b'{"input": [1], "version": true}', "at `$.version`"),
    ("doubles", b'{"input": [1], "version": ["1"]}', "at `$.version`"),
    ("doubles", b'{"input": [1], "version": "2"}', "Requested version: 2 does not exist for model: m"),
    ("doubles", b'{"input": [1], "version": 7}', "Requested version: 7 does not exist for model: m"),
    ("doubles", b'{"input": [1], "version": ""}', "does not exist for model: m"),
    ("integers", b'{"input": [1.5]}', "got 1.5 at index 0"),
    ("integers", b'{"input_batch": [[1], [2, 1e-3]]}', "got 0.001 at index 1"),
    ("integers", b'{"input": [2147483648]}', "-2147483648 to 2147483647"),
    ("integers", b'{"input": [-2147483649.0]}', "-2147483648 to 2147483647"),
    ("integers", b'{"input": [1e30]}', "-2147483648 to 2147483647"),
    ("integers", b'{"input": [' + b"9" * 5000 + b"]}", "out of range"),
    ("integers", b'{"input": [true]}', "got `bool`"),
    ("integers", b'{"input": [1.0], "x": ' + DEEP + b"}", "an array of integers"),
    ("floats", b'{"input": [3.5e38]}', "expected 32-bit floats"),
    ("floats", b'{"input_batch": [[1], [-1e300]]}', "expected 32-bit floats"),
    ("strings", b'{"input": 1}', "a string"),
    ("strings", b'{"input": ["a"]}', "a string"),
    ("strings", b'{"input": "\xff"}', "a string"),
    ("strings", b'{"input": "\\ud800"}', "a string"),
    ("strings", b'{"input": "\x00"}', "a string"),
    ("strings", b'{"input_batch": "abc"}', "a string"),
    ("bytes", b'{"input": "%%%"}', "base64"),
    ("bytes", b'{"input": "YQ="}', "base64"),
    ("bytes", b'{"input": [97]}', "base64"),
    ("json", b'{"input": ' + DEEP + b"}", "recursion"),
    ("json", b'{"input": 1e999}', "out of range"),
    ("json", b'{"input_batch": {}}', "any JSON value"),
    ("tensors", b'{"input": []}', "an object of tensors"),
    ("tensors", b'{"input": {}}', "takes tensors x, row 0 has none"),
    ("tensors", b'{"input": {"x": [1, 2], "y": [1]}}', "takes tensors x, row 0 has x, y"),
    ("tensors", b'{"input_batch": [{"x": [1, 2]}, {"y": [1, 2]}]}', "row 1 has y"),
    ("tensors", b'{"input": {"x": [1, 2, 3]}}', "expected shape [2] in each row (-1: any size), got [3]"),
    ("tensors", b'{"input": {"x": [[1, 2]]}}', "expected shape [2]"),
    ("tensors", b'{"input": {"x": 1}}', "expected shape [2]"),
    ("tensors", b'{"input": {"x": [1, "2"]}}', "expected numbers for INT32, got strings"),
    ("tensors", b'{"input": {"x": [1, null]}}', "got null"),
    ("tensors", b'{"input": {"x": [1, {}]}}', "got objects"),
    ("tensors", b'{"input": {"x": [1, true]}}', "got booleans"),
    ("tensors", b'{"input": {"x": [1, 2.5]}}', "expected whole numbers, got 2.5"),
    ("tensors", b'{"input": {"x": [1, 4294967296]}}', "expected numbers from -2147483648 to 2147483647"),
    ("tensors", b'{"input": {"x": [[1], [2, 3]]}}', "not all of one length"),
    ("tensors", b'{"input": {"x": [1, [2]]}}', "got lists"),
    ("tensors", b'{"input_batch": [{"x": [1, 2]}, {"x": [1]}]}', "not all of one length"),
]


def spec_of(kind: str) -> Any:
    return model(kind=kind, inputs=(("x", "INT32", (-1, 2)),) if kind == "tensors" else ())


@pytest.mark.parametrize(("kind", "body", "named"), CLIPPER)
async def test_the_predict_route_refuses(make_stage: MakeStage, kind: str, body: bytes, named: str) -> None:
    stage = make_stage(ones, spec_of(kind))
    response = await stage.post("/a/predict", content=body)
    told = response.json()
    assert response.status_code == 400, told
    assert told["error"] in {"Json error", "Query processing error"}
    assert named in told["cause"]
    assert stage.client.asked == []


@pytest.mark.parametrize("kind", ["json", "tensors"])
async def test_a_row_too_deep_to_be_written_again_is_refused(make_stage: MakeStage, kind: str) -> None:
    stage = make_stage(ones, model(kind=kind))
    for depth in range(880, 1000, 7):
        nested = b"[" * depth + b"]" * depth
        body = b'{"input": {"x": %b}}' % nested
        response = await stage.post("/a/predict", content=body)
        assert response.status_code in {200, 400}
        assert kind == "json" or response.status_code == 400  # arrays have few dimensions


async def test_one_long_string_among_many_takes_no_more_memory_than_was_sent(make_stage: MakeStage) -> None:
    # numpy gives each element of a text array the room of the longest: here 3 TB.
    texts = ["x" * 4_000_000] + [""] * 200_000
    stage = make_stage(ones, model(kind="tensors"))
    assert (await stage.predict({"input": {"x": texts}})).status_code == 200
    tensor = {"name": "x", "shape": [len(texts)], "datatype": "FP32", "data": texts}
    response = await stage.post("/v2/models/m/infer", {"inputs": [tensor]})
    assert response.status_code == 400


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]} | fields


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in tensor().items() if name != field}


OIP = [
    ("doubles", b"", "truncated"),
    ("doubles", b"[]", "Expected `object`"),
    ("doubles", b"\xff", "not a valid inference request"),
    ("doubles", {}, "missing required field `inputs`"),
    ("doubles", {"inputs": []}, "inputs is empty"),
    ("doubles", {"inputs": {}}, "at `$.inputs`"),
    ("doubles", {"inputs": [without("name")]}, "`name`"),
    ("doubles", {"inputs": [without("shape")]}, "`shape`"),
    ("doubles", {"inputs": [without("datatype")]}, "`datatype`"),
    ("doubles", {"inputs": [without("data")]}, "neither data nor binary_data_size"),
    ("doubles", {"inputs": [tensor(), tensor()]}, "given twice"),
    ("doubles", {"inputs": [tensor(), tensor(name="y")]}, "takes one input"),
    ("doubles", {"inputs": [tensor(datatype="FP63")]}, "unknown datatype"),
    ("doubles", {"inputs": [tensor(datatype="fp64")]}, "unknown datatype"),
    ("doubles", {"inputs": [tensor(datatype="BYTES", data=["a", "b"])]}, "takes FP64"),
    ("doubles", {"inputs": [tensor(data=["1", "2"])]}, "expected numbers for FP64, got strings"),
    ("doubles", {"inputs": [tensor(data=[1, None])]}, "got null"),
    ("doubles", {"inputs": [tensor(data=[1, True])]}, "got booleans"),
    ("doubles", {"inputs": [tensor(data=None)]}, "got null"),
    ("doubles", {"inputs": [tensor(data={})]}, "got objects"),
    ("doubles", {"inputs": [tensor(data=[[1], [2, 3]])]}, "not all of one length"),
    ("doubles", {"inputs": [tensor(data=[1, 2, 3])]}, "wants 2 elements, its data hold 3"),
    ("doubles", {"inputs": [tensor(shape=[])]}, "expected the row count"),
    ("doubles", {"inputs": [tensor(shape=[-1, 2])]}, "none negative"),
    ("doubles", {"inputs": [tensor(shape=[2])]}, "takes FP64 of shape (rows, n)"),
    ("doubles", {"inputs": [tensor(shape=[1, 2, 1])]}, "takes FP64 of shape (rows, n)"),
    ("doubles", {"inputs": [tensor(shape=[0, 2], data=[])]}, "no rows"),
    ("doubles", {"inputs": [tensor(shape=[0, 2**62], data=[])]}, "dimensions of 0 to"),
    ("doubles", {"inputs": [tensor(shape=[2**62, 2**62], data=[])]}, "dimensions of 0 to"),
    ("doubles", {"inputs": [tensor(shape=[0, 2**31 - 1, 2**31 - 1, 2**31 - 1], data=[])]}, "shape"),
    ("doubles", {"inputs": [tensor(shape=[1] * 33, data=[1])]}, "at most"),
    ("doubles", {"inputs": [tensor(shape=[2**63] * 100_000, data=[1])]}, "at most"),
    ("doubles", {"inputs": [tensor(shape=[1.5, 2])]}, "at `$.inputs[0].shape[0]`"),
    ("doubles", {"inputs": [tensor(parameters=[])]}, "parameters"),
    ("doubles", {"inputs": [tensor()], "id": 7}, "at `$.id`"),
    ("doubles", {"inputs": [tensor()], "parameters": {"timeout": "1"}}, "'timeout' is '1': expected int"),
    ("doubles", {"inputs": [tensor()], "parameters": {"timeout": True}}, "expected int"),
    ("doubles", {"inputs": [tensor()], "parameters": {"timeout": -1}}, "0 or more"),
    ("doubles", {"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "expected bool"),
    ("doubles", {"inputs": [tensor()], "outputs": [{}]}, "`name`"),
    ("doubles", {"inputs": [tensor()], "outputs": [{"name": "q"}]}, "'q' is not among the model's: output"),
    ("doubles", {"inputs": [tensor()], "outputs": [{"name": "output"}] * 2}, "asked for twice"),
    (
        "doubles",
        {"inputs": [tensor()], "outputs": [{"name": "output", "parameters": {"binary_data": "no"}}]},
        "expected bool",
    ),
    ("doubles", {"inputs": [tensor(parameters={"binary_data_size": 8})]}, "both data and binary_data_size"),
    ("doubles", {"inputs": [without("data") | {"parameters": {"binary_data_size": 16}}]}, "0 bytes are left"),
    ("doubles", {"inputs": [without("data") | {"parameters": {"binary_data_size": "16"}}]}, "expected int"),
    ("doubles", {"inputs": [without("data") | {"parameters": {"binary_data_size": True}}]}, "expected int"),
    ("doubles", {"inputs": [without("data") | {"parameters": {"shared_memory_region": "r"}}]}, "neither data"),
    ("floats", {"inputs": [tensor(data=[1, 1e300])]}, "out of its range"),
    ("floats", {"inputs": [tensor(datatype="FP32", data=[1, 1e300])]}, "out of range"),
    ("integers", {"inputs": [tensor(data=[1, 2.5])]}, "takes integers"),
    ("integers", {"inputs": [tensor(datatype="INT64", data=[1, 2**31])]}, "takes 32-bit integers"),
    ("integers", {"inputs": [tensor(datatype="UINT64", data=[1, 2**64 - 1])]}, "takes 32-bit integers"),
    ("integers", {"inputs": [tensor(datatype="INT8", data=[1, 128])]}, "-128 to 127"),
    ("integers", {"inputs": [tensor(datatype="INT32", data=[1, 2.5])]}, "whole numbers, got 2.5"),
    ("strings", {"inputs": [tensor(shape=[2])]}, "takes BYTES of shape (rows,) or (rows, 1)"),
    ("strings", {"inputs": [tensor(datatype="BYTES", shape=[1, 2], data=["a", "b"])]}, "takes BYTES"),
    ("strings", {"inputs": [tensor(datatype="BYTES", shape=[2], data=["a", 1])]}, "expected strings for BYTES"),
    ("json", {"inputs": [tensor(datatype="BYTES", shape=[2], data=["{}", "{"])]}, "row 1"),
    ("json", {"inputs": [tensor(), tensor(name="y", shape=[2], data=[1, 2])]}, "row count"),
    ("tensors", {"inputs": [tensor(name="y")]}, "takes inputs ['x'], got ['y']"),
    ("tensors", {"inputs": [tensor(), tensor(name="y")]}, "takes inputs ['x']"),
    ("tensors", {"inputs": [tensor(shape=[2, 1])]}, "of shape [-1, 2] (-1: any size), got [2, 1]"),
    ("tensors", {"inputs": [tensor(shape=[2])]}, "of shape [-1, 2]"),
]


@pytest.mark.parametrize(("kind", "body", "named"), OIP)
async def test_the_infer_route_refuses(make_stage: MakeStage, kind: str, body: Any, named: str) -> None:
    stage = make_stage(ones, spec_of(kind))
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await stage.post("/v2/models/m/infer", content=content)
    told = response.json()
    assert response.status_code == 400, told
    assert set(told) == {"error"}
    assert named in told["error"]


async def test_a_width_that_the_model_does_not_take_is_refused_on_both_routes(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model(inputs=(("x", "FP64", (-1, 3)),)))
    response = await stage.predict({"input": [1, 2]})
    assert response.json()["cause"] == "model m takes 3 numbers in a row, row 0 has 2"
    response = await stage.post("/v2/models/m/infer", {"inputs": [tensor()]})
    assert response.json()["error"] == "model m takes 3 numbers in a row, input 'x' has 2"
    assert stage.client.asked == []
