"""Open Inference Protocol v2, binary tensor data extension: requests and answers byte by byte."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from tests.frontend.fakes import Stage, model

MakeStage = Callable[..., Stage]
LENGTH = "inference-header-content-length"


def echo(batch: Any) -> Any:
    return batch


def packed(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    return b"".join(struct.pack("<I", len(element)) + element for element in array.ravel().tolist())


def binary(name: str, datatype: str, array: np.ndarray[Any, Any], **more: Any) -> tuple[dict[str, Any], bytes]:
    raw = packed(array)
    parameters = {"binary_data_size": len(raw)}
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": parameters, **more}, raw


async def infer(
    stage: Stage, header: Any, *parts: bytes, length: Any = None, path: str = "/v2/models/m/infer", **headers: str
) -> httpx.Response:
    text = json.dumps(header).encode()
    own = {LENGTH: str(len(text) if length is None else length), "content-type": "application/octet-stream"}
    return await stage.post(path, content=text + b"".join(parts), headers=own | headers)


def outputs(response: httpx.Response) -> dict[str, Any]:
    """Outputs by name: JSON data, or the raw bytes that the answer's header says are theirs."""
    assert response.status_code == 200, response.text
    length = response.headers.get(LENGTH)
    if length is None:
        assert response.headers["content-type"] == "application/json"
        return {output["name"]: output["data"] for output in response.json()["outputs"]}
    assert response.headers["content-type"] == "application/octet-stream"
    header, rest = json.loads(response.content[: int(length)]), response.content[int(length) :]
    found: dict[str, Any] = {}
    for output in header["outputs"]:
        if "data" in output:
            found[output["name"]] = output["data"]
        else:
            size = output["parameters"]["binary_data_size"]
            found[output["name"]], rest = rest[:size], rest[size:]
    assert rest == b""
    return found


def objects(*elements: bytes) -> np.ndarray[Any, Any]:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


ARRAYS = [
    ("BOOL", np.array([True, False])),
    ("UINT8", np.array([0, 255], np.uint8)),
    ("UINT16", np.array([0, 65535], np.uint16)),
    ("UINT32", np.array([0, 2**32 - 1], np.uint32)),
    ("UINT64", np.array([0, 2**64 - 1], np.uint64)),
    ("INT8", np.array([-128, 127], np.int8)),
    ("INT16", np.array([-(2**15), 1], np.int16)),
    ("INT32", np.array([-(2**31), 1], np.int32)),
    ("INT64", np.array([-(2**63), 1], np.int64)),
    ("FP16", np.array([0.5, np.inf], np.float16)),
    ("FP32", np.array([np.nan, -0.0], np.float32)),
    ("FP64", np.array([1e308, -np.inf])),
    ("BYTES", objects(b"", b"\xff\x00\xfe")),
]


@pytest.mark.parametrize(("datatype", "array"), ARRAYS, ids=[datatype for datatype, _ in ARRAYS])
async def test_every_datatype_comes_back_bit_by_bit(
    make_stage: MakeStage, datatype: str, array: np.ndarray[Any, Any]
) -> None:
    stage = make_stage(echo, model(kind="tensors"))
    described, raw = binary("x", datatype, array)
    header = {"inputs": [described], "parameters": {"binary_data_output": True}, "id": "7"}
    response = await infer(stage, header, raw)
    assert outputs(response) == {"x": raw}
    told = json.loads(response.content[: int(response.headers[LENGTH])])
    assert told["id"] == "7"
    assert told["outputs"] == [
        {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    ]


async def test_several_tensors_follow_each_other_mixed_with_json(make_stage: MakeStage) -> None:
    stage = make_stage(echo, model(kind="tensors"))
    a, raw_a = binary("a", "FP32", np.array([[1, 2], [3, 4]], np.float32))
    c, raw_c = binary("c", "BYTES", objects(b"x", b"yz"))
    b = {"name": "b", "shape": [2], "datatype": "INT64", "data": [5, 6]}
    response = await infer(stage, {"inputs": [a, b, c]}, raw_a, raw_c)
    assert outputs(response) == {"a": [1, 2, 3, 4], "b": [5, 6], "c": ["x", "yz"]}


@pytest.mark.parametrize("wishes", list(itertools.product([None, False, True], repeat=2)))
async def test_an_outputs_own_wish_wins_over_the_requests(
    make_stage: MakeStage, wishes: tuple[bool | None, bool | None]
) -> None:
    for_all, own = wishes
    stage = make_stage(echo, model(kind="tensors"))
    a, raw = binary("a", "INT64", np.array([1]))
    header: dict[str, Any] = {"inputs": [a], "outputs": [{"name": "a"}]}
    if for_all is not None:
        header["parameters"] = {"binary_data_output": for_all}
    if own is not None:
        header["outputs"][0]["parameters"] = {"binary_data": own}
    response = await infer(stage, header, raw)
    assert outputs(response) == {"a": raw if (own if own is not None else for_all) else [1]}


async def test_outputs_come_in_the_order_in_which_they_are_asked_for(make_stage: MakeStage) -> None:
    stage = make_stage(echo, model(kind="tensors"))
    a, raw_a = binary("a", "INT64", np.array([1]))
    b, raw_b = binary("b", "INT64", np.array([2]))
    c, raw_c = binary("c", "INT64", np.array([3]))
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in ("c", "a")]
    response = await infer(stage, {"inputs": [a, b, c], "outputs": wanted}, raw_a, raw_b, raw_c)
    assert list(outputs(response).items()) == [("c", raw_c), ("a", raw_a)]


async def test_a_model_of_vectors_takes_and_gives_binary_tensors(make_stage: MakeStage) -> None:
    stage = make_stage(lambda batch: batch * 2, model())
    described, raw = binary("x", "FP32", np.array([[1, 2], [3, 4]], np.float32))
    response = await infer(stage, {"inputs": [described], "parameters": {"binary_data_output": True}}, raw)
    assert outputs(response) == {"output": np.array([2.0, 4, 6, 8]).tobytes()}


# ------------------------------------------------------------------------------------------------------ raw requests

RAW: list[tuple[str, tuple[Any, ...], bytes, list[int]]] = [
    ("doubles", (), np.array([1.0, 2, 3]).tobytes(), [1, 3]),
    ("floats", (("x", "FP32", (-1, 4)),), np.zeros(4, np.float32).tobytes(), [1, 4]),
    ("integers", (("x", "INT32", (-1, -1)),), np.zeros(5, np.int32).tobytes(), [1, 5]),
    ("tensors", (("x", "UINT8", (-1, 2, -1)),), bytes(6), [1, 2, 3]),
    ("tensors", (("x", "FP64", (-1,)),), bytes(8), [1]),
    ("tensors", (("x", "BYTES", (-1,)),), b"any \xff bytes", [1]),
    ("tensors", (("x", "BYTES", (-1, 1)),), b"", [1, 1]),
]


@pytest.mark.parametrize(("kind", "inputs", "body", "shape"), RAW)
async def test_a_raw_request_is_the_bytes_of_the_only_input(
    make_stage: MakeStage, kind: str, inputs: Any, body: bytes, shape: list[int]
) -> None:
    seen: list[Any] = []

    def note(batch: Any) -> list[int]:
        array = batch["x"] if isinstance(batch, dict) else batch
        seen.append((list(array.shape), packed(array)))
        return [1] * len(array)

    stage = make_stage(note, model(kind=kind, inputs=inputs))
    response = await stage.post("/v2/models/m/infer", content=body, headers={LENGTH: "0"})
    assert outputs(response) == {"output": np.array([1]).tobytes()}
    element = struct.pack("<I", len(body)) + body if inputs and inputs[0][1] == "BYTES" else body
    assert seen == [(shape, element)]


@pytest.mark.parametrize(
    ("kind", "inputs", "body", "reason"),
    [
        ("tensors", (), b"1234", "declares one input"),
        ("tensors", (("x", "FP32", (-1, 1)), ("y", "FP32", (-1, 1))), b"1234", "declares 2"),
        ("tensors", (("x", "FP32", (-1, -1, -1)),), b"1234", "undetermined"),
        ("tensors", (("x", "FP32", (-1, 0, -1)),), b"1234", "undetermined"),
        ("tensors", (("x", "FP32", (-1, 2)),), b"1234", "wants 8 bytes"),
        ("doubles", (), b"123456789", "wants 8 bytes"),
        ("json", (), b"{", "not valid JSON"),
        ("strings", (), b"\xff", "UTF-8"),
    ],
)
async def test_a_raw_request_that_does_not_fit_is_refused(
    make_stage: MakeStage, kind: str, inputs: Any, body: bytes, reason: str
) -> None:
    stage = make_stage(echo, model(kind=kind, inputs=inputs))
    response = await stage.post("/v2/models/m/infer", content=body, headers={LENGTH: "0"})
    assert response.status_code == 400
    assert reason in response.json()["error"]


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "", "9" * 30, "99999", "²"])
async def test_a_header_length_that_is_none_or_too_long_is_refused(make_stage: MakeStage, length: str) -> None:
    stage = make_stage(echo, model())
    headers = [(LENGTH.encode(), length.encode())]
    response = await stage.http.post("/v2/models/m/infer", content=b"{}", headers=headers)
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in response.json()["error"]


def sized(size: Any, datatype: str = "FP64", shape: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"inputs": [{"name": "x", "shape": list(shape), "datatype": datatype, "parameters": parameters}]}


@pytest.mark.parametrize(
    ("header", "raw", "reason"),
    [
        (sized(16), bytes(15), "15 bytes are left"),
        (sized(16), bytes(17), "17 bytes follow the JSON"),
        (sized(15), bytes(15), "wants 16 bytes, binary_data_size is 15"),
        (sized(-1), b"", "binary_data_size is -1"),
        (sized(10**30), b"", "0 bytes are left"),
        (sized(16, shape=(2**60, 2**60)), bytes(16), "wants"),
        (sized(0, shape=(0, 2**31 - 1, 2**31 - 1, 2**31 - 1)), b"", "shape"),
        (sized(8, "BYTES", (1, 2)), struct.pack("<II", 0, 9), "past the end"),
        (sized(9, "BYTES", (1, 2)), struct.pack("<II", 0, 0) + b"x", "end at byte 8 of 9"),
        (sized(4, "BYTES", (1, 2)), bytes(4), "cannot fit"),
        (sized(2, "BF16", (1, 1)), bytes(2), "unknown datatype"),
        ({"inputs": []}, b"123", "inputs is empty"),
    ],
)
async def test_bytes_that_do_not_add_up_are_refused(
    make_stage: MakeStage, header: Any, raw: bytes, reason: str
) -> None:
    response = await infer(make_stage(echo, model()), header, raw)
    assert response.status_code == 400
    assert reason in response.json()["error"]


async def test_header_and_tensors_are_compressed_together(make_stage: MakeStage) -> None:
    stage = make_stage(echo, model())
    described, raw = binary("x", "FP64", np.ones((100, 20)))
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    headers = {LENGTH: str(len(header)), "content-encoding": "gzip", "accept-encoding": "gzip"}
    response = await stage.post("/v2/models/m/infer", content=gzip.compress(header + raw), headers=headers)
    assert response.headers["content-encoding"] == "gzip"
    assert outputs(response) == {"output": raw}  # the client has unpacked it; the length is the unpacked header's


async def test_an_error_is_json_also_for_a_binary_request(make_stage: MakeStage) -> None:
    stage = make_stage(lambda _: 1 / 0, model())
    described, raw = binary("x", "FP64", np.ones((1, 2)))
    response = await infer(stage, {"inputs": [described], "parameters": {"binary_data_output": True}}, raw)
    assert (response.status_code, response.headers["content-type"]) == (500, "application/json")
    assert response.json() == {"error": "division by zero"}
