"""Open Inference Protocol v2 through Triton's own client, against a frontend, a broker, a store and workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from tests.frontend.system import FrontendProcess


@pytest.fixture
def client(frontend: FrontendProcess) -> Iterator[triton.InferenceServerClient]:
    """A client as anybody would make it."""
    made = triton.InferenceServerClient(f"127.0.0.1:{frontend.port}", network_timeout=30)
    yield made
    made.close()


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


ROWS = np.array([[1, 2, 3], [4, 5, 6.5]])


def test_the_server_is_alive_ready_and_describes_itself(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "skysail"
    assert "binary_tensor_data" in metadata["extensions"]


def test_models_are_described_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready("sums")
    assert client.is_model_ready("sums", "1")
    assert not client.is_model_ready("sums", "2")
    assert not client.is_model_ready("nothing")
    metadata = client.get_model_metadata("mix", "1")
    assert (metadata["name"], metadata["versions"]) == ("mix", ["1"])
    assert metadata["inputs"] == [
        {"name": "a", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "b", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "c", "datatype": "BYTES", "shape": [-1]},
    ]


def test_the_repository_is_listed(client: triton.InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    found = {(row["name"], row["version"], row["state"]) for row in index}
    assert found >= {("acts", "1", "READY"), ("mix", "1", "READY"), ("sums", "1", "READY")}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_go_and_come_as_bytes_or_as_json(
    client: triton.InferenceServerClient, *, binary_in: bool, binary_out: bool
) -> None:
    asked = [triton.InferRequestedOutput("output", binary_data=binary_out)]
    result = client.infer("sums", [tensor("x", ROWS, "FP64", binary=binary_in)], outputs=asked, request_id="r7")
    assert result.as_numpy("output").tolist() == [6, 15.5]
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("r7", "sums", "1")


def test_a_client_that_asks_for_nothing_in_particular_is_given_everything(client: triton.InferenceServerClient) -> None:
    result = client.infer("sums", [tensor("x", ROWS.astype(np.float32), "FP32")], model_version="1")
    assert result.as_numpy("output").tolist() == [6, 15.5]


@pytest.mark.parametrize("binary", [True, False])
def test_several_named_tensors_and_text(client: triton.InferenceServerClient, *, binary: bool) -> None:
    texts = np.array([b"one", "zw\u00f6lf".encode()], dtype=object)
    inputs = [
        tensor("a", np.array([[1, 2], [3, 4]], np.float32), "FP32", binary=binary),
        tensor("b", np.array([[10], [20]]), "INT64", binary=True),
        tensor("c", texts, "BYTES", binary=binary),
    ]
    result = client.infer("mix", inputs)
    assert result.as_numpy("sum").tolist() == [13, 27]
    assert result.as_numpy("text").tolist() == texts.tolist()
    chosen = client.infer("mix", inputs, outputs=[triton.InferRequestedOutput("text")])
    assert chosen.as_numpy("sum") is None
    assert chosen.as_numpy("text").tolist() == texts.tolist()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(client: triton.InferenceServerClient, encoding: str) -> None:
    rows = np.ones((500, 3))
    result = client.infer(
        "sums",
        [tensor("x", rows, "FP64")],
        request_compression_algorithm=encoding,
        response_compression_algorithm=encoding,
    )
    assert result.as_numpy("output").tolist() == [3] * 500


def test_calls_may_overlap(frontend: FrontendProcess) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{frontend.port}", concurrency=8)
    requests = [client.async_infer("sums", [tensor("x", ROWS + index, "FP64")]) for index in range(8)]
    answers = [request.get_result(timeout=30).as_numpy("output").tolist() for request in requests]
    assert answers == [[6 + 3 * index, 15.5 + 3 * index] for index in range(8)]
    client.close()


@pytest.mark.parametrize(
    ("model", "version", "array", "datatype", "status", "reason"),
    [
        ("nothing", "", ROWS, "FP64", "404", "no model is named 'nothing'"),
        ("sums", "9", ROWS, "FP64", "404", "Requested version: 9 does not exist for model: sums"),
        ("sums", "", ROWS[0], "FP64", "400", "takes FP64 of shape (rows, n)"),
        ("sums", "", np.array([b"x"], dtype=object), "BYTES", "400", "takes FP64"),
        ("sums", "", ROWS[:0], "FP64", "400", "no rows"),
        ("acts", "", np.array([b"{"], dtype=object), "BYTES", "400", "not valid JSON"),
        ("acts", "", np.array([b'{"raise": "no"}'], dtype=object), "BYTES", "500", "ValueError: no"),
    ],
)
def test_an_error_reaches_the_caller_with_its_reason(  # noqa: PLR0917 - the columns of a table
    client: triton.InferenceServerClient,
    model: str,
    version: str,
    array: np.ndarray[Any, Any],
    datatype: str,
    status: str,
    reason: str,
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [tensor("x", array, datatype)], model_version=version)
    assert caught.value.status() == status
    assert reason in caught.value.message()


def test_a_deadline_is_kept(client: triton.InferenceServerClient) -> None:
    slow = tensor("x", np.array([b'{"sleep": 0.4}'], dtype=object), "BYTES")
    with pytest.raises(InferenceServerException, match="no prediction within 50 ms"):
        client.infer("acts", [slow], timeout=50_000)


@pytest.mark.parametrize("what", ["load_model", "unload_model"])
def test_models_are_deployed_not_loaded(client: triton.InferenceServerClient, what: str) -> None:
    with pytest.raises(InferenceServerException, match="deploying"):
        getattr(client, what)("sums")
