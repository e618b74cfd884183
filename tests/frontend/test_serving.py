"""The whole way of a query: a frontend process, a real Kafka, a real Redis, a worker process."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontend.fuzz import bodies, header_lengths, infer_bodies, must_be_an_honest_answer, predict_bodies
from tests.frontend.system import FrontendProcess, System
from tests.waiting import wait_until


@pytest.fixture
def http(frontend: FrontendProcess) -> Iterator[httpx.Client]:
    """A client of the frontend, over one connection."""
    with httpx.Client(base_url=frontend.url, timeout=30) as client:
        yield client


def together(http: httpx.Client, path: str, inputs: list[Any]) -> list[httpx.Response]:
    """Ask for all inputs at the same time."""
    with ThreadPoolExecutor(len(inputs)) as threads:
        return list(threads.map(lambda row: http.post(path, json={"input": row}), inputs))


def metric(frontend: FrontendProcess, name: str) -> float:
    """The sum of a metric's samples, labels given or not."""
    lines = httpx.get(f"{frontend.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def records(system: System, topic: str) -> list[Message]:
    """Everything in a topic."""
    consumer = Consumer(
        {"bootstrap.servers": system.bootstrap_servers, "group.id": "reader", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[Message] = []

    def read() -> bool:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
        return bool(found) and message is None

    try:
        wait_until(read, 20, f"records in {topic}")
    finally:
        consumer.close()
    return found


def test_a_query_comes_back_through_broker_worker_and_store(http: httpx.Client) -> None:
    response = http.post("/sums/predict", json={"input": [1, 2.5, 3]})
    body = response.json()
    assert (response.status_code, body["output"], body["default"]) == (200, 6.5, False)
    assert response.headers["skysail-model-version"] == "1"
    assert "predict;dur=" in response.headers["server-timing"]


def test_batches_come_back_in_order(http: httpx.Client) -> None:
    body = http.post("/sums/predict", json={"input_batch": [[index] for index in range(3000)]}).json()
    assert [entry["output"] for entry in body["batch_predictions"]] == list(range(3000))


def test_many_queries_at_once_each_get_their_own_answer(http: httpx.Client) -> None:
    answers = together(http, "/sums/predict", [[index, 0.5] for index in range(50)])
    assert [answer.json()["output"] for answer in answers] == [index + 0.5 for index in range(50)]


def test_the_open_inference_protocol_asks_the_same_model(http: httpx.Client) -> None:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4]]}
    answer = http.post("/v2/models/sums/infer", json={"id": "7", "inputs": [tensor]}).json()
    assert answer == {
        "model_name": "sums",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "output", "datatype": "FP64", "shape": [2], "data": [3.0, 7.0]}],
    }
    assert http.get("/v2/models/sums/ready").json() == {"name": "sums", "ready": True}
    index = http.post("/v2/repository/index").json()
    assert {(row["name"], row["state"]) for row in index} >= {("acts", "READY"), ("mix", "READY"), ("sums", "READY")}


def test_a_model_that_raises_fails_its_own_query_only(http: httpx.Client) -> None:
    answers = together(http, "/acts/predict", [{"raise": "no"}, "one", {"raise": "never"}, "two"])
    assert [answer.status_code for answer in answers] == [500, 200, 500, 200]
    assert answers[0].json() == {"error": "Model error", "cause": "ValueError: no"}
    batch = http.post("/acts/predict", json={"input_batch": ["three", {"raise": "no"}, "four"]})
    entries = batch.json()["batch_predictions"]
    assert batch.status_code == 200
    assert [entry["output"] and entry["output"]["row"] for entry in entries] == ["three", None, "four"]
    assert entries[1]["error"] == "Model error"


def test_a_missed_deadline_is_a_504_or_the_default_with_its_reason(http: httpx.Client) -> None:
    late = http.post("/hasty/predict", json={"input": {"sleep": 0.4}})
    assert late.status_code == 504
    assert late.json() == {"error": "Deadline exceeded", "cause": "no prediction within 100 ms"}
    defaulted = http.post("/defaulted/predict", json={"input": {"sleep": 0.4}}).json()
    assert (defaulted["output"], defaulted["default"]) == ({"none": True}, True)
    assert defaulted["default_explanation"].endswith("no prediction within 100 ms")
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ['{"sleep": 0.4}']}
    asked = {"inputs": [tensor], "parameters": {"timeout": 50_000}}
    oip = http.post("/v2/models/acts/infer", json=asked)
    assert (oip.status_code, oip.json()) == (504, {"error": "no prediction within 50 ms"})


def test_identical_queries_in_flight_share_one_record(http: httpx.Client) -> None:
    row = {"sleep": 0.5, "name": "shared"}
    answers = together(http, "/cached/predict", [row] * 8)
    assert [answer.json()["output"] for answer in answers] == [{"row": row, "times": 1}] * 8
    assert len({answer.json()["query_id"] for answer in answers}) == 8


def test_an_application_without_a_cache_has_every_query_computed(http: httpx.Client) -> None:
    answers = together(http, "/acts/predict", ["again"] * 3)
    assert sorted(answer.json()["output"]["times"] for answer in answers) == [1, 2, 3]


def test_a_known_answer_comes_from_the_cache_of_this_or_another_frontend(served: System, http: httpx.Client) -> None:
    first = http.post("/cached/predict", json={"input": {"b": 1, "a": 2}})
    assert (first.headers["x-cache"], first.json()["output"]["times"]) == ("MISS", 1)
    second = http.post("/cached/predict", json={"input": {"a": 2, "b": 1}})  # the same value, written otherwise
    assert (second.headers["x-cache"], second.json()["output"]) == ("HIT", first.json()["output"])
    other = served.frontend().start()
    third = httpx.post(f"{other.url}/cached/predict", json={"input": {"b": 1, "a": 2}})
    assert (third.headers["x-cache"], third.json()["output"]) == ("HIT", first.json()["output"])
    assert metric(other, 'skysail_frontend_cache_hits_total{tier="shared"}') == 1
    other.kill()


def test_a_frontend_with_too_many_in_flight_says_so_and_answers_the_rest(served: System) -> None:
    small = served.frontend(max_in_flight=2).start()
    with httpx.Client(base_url=small.url, timeout=30) as http:
        answers = together(http, "/acts/predict", [{"sleep": 1, "name": index} for index in range(6)])
        refused = [answer for answer in answers if answer.status_code == 429]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert {answer.json()["error"] for answer in refused} == {"Too many queries in flight"}
        assert http.post("/acts/predict", json={"input": "later"}).status_code == 200
    small.kill()


def test_a_frontend_that_is_told_to_end_answers_what_it_has_taken(served: System) -> None:
    ending = served.frontend().start()
    with httpx.Client(base_url=ending.url, timeout=30) as http, ThreadPoolExecutor(3) as threads:
        rows = [{"sleep": 0.8, "name": f"drain {index}"} for index in range(3)]
        answers = [threads.submit(http.post, "/acts/predict", json={"input": row}) for row in rows]
        wait_until(lambda: metric(ending, "skysail_frontend_in_flight") == 3, 10, "3 queries in flight")
        assert ending.stop() == 0
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]


def test_feedback_is_in_the_applications_topic(served: System, http: httpx.Client) -> None:
    body = {"uid": 5, "input": {"a": None}, "label": [1], "query_id": "q"}
    response = http.post("/acts/update", json=body)
    assert (response.status_code, response.text) == (200, "Feedback received? 1")
    (record,) = records(served, served.topics.feedback("acts"))
    assert json.loads(record.value() or b"") == body
    assert record.key() == b"5"
    assert dict(record.headers() or [])["ce_type"] == b"io.skysail.feedback"


def test_a_trace_goes_on_in_the_record(served: System, http: httpx.Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    tensor = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    rest = [{"name": "b", "shape": [1, 1], "datatype": "INT64", "data": [3]}]
    text = [{"name": "c", "shape": [1], "datatype": "BYTES", "data": ["x"]}]
    response = http.post(
        "/v2/models/mix/infer", json={"inputs": [tensor, *rest, *text]}, headers={"traceparent": trace}
    )
    assert response.status_code == 200, response.text
    headers = [dict(record.headers() or []) for record in records(served, served.topics.version("mix", "1"))]
    mine = [found for found in headers if found.get("traceparent") == trace.encode()]
    assert len(mine) == 1
    assert mine[0]["skysail-id"] == response.headers["x-request-id"].encode()


# ----------------------------------------------------------------------------------------------- over a bare socket


def speak(frontend: FrontendProcess, *parts: bytes) -> bytes:
    """Send bytes, and read what comes until the frontend closes or is silent."""
    with socket.create_connection(("127.0.0.1", frontend.port), timeout=5) as connection:
        for part in parts:
            connection.sendall(part)
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = connection.recv(65536)
            if not piece:
                break
            heard += piece
        return heard


def test_a_body_that_is_too_large_is_refused_before_it_has_come(frontend: FrontendProcess) -> None:
    head = b"POST /sums/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (16 * 1024 * 1024 + 1)
    assert speak(frontend, head).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_is_refused_where_it_becomes_too_large(frontend: FrontendProcess) -> None:
    head = b"POST /v2/models/sums/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (4 * 1024 * 1024, bytes(4 * 1024 * 1024))
    assert speak(frontend, head, *[chunk] * 5).startswith(b"HTTP/1.1 413 ")


def test_ten_megabytes_are_taken(http: httpx.Client) -> None:
    numbers = [1.25] * 2_000_000
    response = http.post("/sums/predict", json={"input": numbers})
    assert response.json()["output"] == 2_500_000


@pytest.mark.parametrize("path", [b"/sums/predict", b"/v2/models/sums/infer", b"/sums/update"])
def test_a_client_that_goes_away_in_the_middle_leaves_the_frontend_whole(
    frontend: FrontendProcess, path: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", frontend.port), timeout=5) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{" % path)
    assert httpx.get(f"{frontend.url}/readyz").status_code == 200
    assert "Traceback" not in frontend.log_tail(1000)
    assert "request_failed" not in frontend.log_tail(1000)


def test_what_is_no_http_is_refused(frontend: FrontendProcess) -> None:
    assert speak(frontend, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert httpx.get(f"{frontend.url}/readyz").status_code == 200


@settings(max_examples=40)
@given(
    body=bodies(predict_bodies) | bodies(infer_bodies),
    path=st.sampled_from(["/acts/predict", "/sums/predict", "/v2/models/sums/infer", "/v2/models/mix/infer"]),
    length=header_lengths,
)
def test_whatever_is_sent_is_answered_honestly(
    frontend: FrontendProcess, body: bytes, path: str, length: str | None
) -> None:
    headers = {"inference-header-content-length": length} if length is not None else {}
    response = httpx.post(frontend.url + path, content=body, headers=headers, timeout=10)
    fields = {"error"} if path.startswith("/v2") else {"error", "cause"}
    must_be_an_honest_answer(response.status_code, response.content, fields=fields)
