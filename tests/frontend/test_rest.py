"""The routes behind the hot ones: health, metadata, repository, documentation, feedback."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from skysail.topics.specs import WorkerHeartbeat, WorkerState
from tests.frontend.fakes import Stage, app, model

MakeStage = Callable[..., Stage]


def ones(batch: Any) -> list[int]:
    return [1] * len(batch)


def beat(state: WorkerState, name: str = "m", version: str = "1") -> WorkerHeartbeat:
    return WorkerHeartbeat(worker_id=f"{name}-{version}-{state}", model=name, version=version, state=state)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/metrics"])
async def test_probes_are_answered_to_get_and_head(make_stage: MakeStage, path: str, method: str) -> None:
    response = await make_stage(ones, model()).http.request(method, path)
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/v2/health/ready"])
async def test_readiness_names_what_is_away(make_stage: MakeStage, path: str) -> None:
    stage = make_stage(ones, model())
    assert (await stage.get(path)).json() == {"ready": True}
    stage.client.broker_available = False
    response = await stage.get(path)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"ready": False, "error": "not available: broker"}
    stage.client.store_available = stage.client.view.loaded = False
    assert (await stage.get(path)).json()["error"] == "not available: registry, broker, store"
    assert (await stage.get("/livez")).json() == {"live": True}


async def test_the_server_describes_itself(make_stage: MakeStage) -> None:
    body = (await make_stage(ones, model()).get("/v2")).json()
    assert body == {"name": "skysail", "version": "0.1.0", "extensions": ["binary_tensor_data"]}


async def test_a_model_describes_itself(make_stage: MakeStage) -> None:
    specs = [
        model(
            version="9",
            inputs=(("pixels", "FP64", (-1, 64)),),
            outputs=(("digit", "INT64", (-1,)),),
            framework="sklearn",
        ),
        model(version="10"),
        model("t", kind="strings"),
        model("x", kind="tensors"),
    ]
    stage = make_stage(ones, specs)
    assert (await stage.get("/v2/models")).json() == {"models": ["m", "t", "x"]}
    described = (await stage.get("/v2/models/m")).json()
    assert described == {
        "name": "m",
        "versions": ["9", "10"],
        "platform": "sklearn_cloudpickle",
        "inputs": [{"name": "pixels", "datatype": "FP64", "shape": [-1, 64]}],
        "outputs": [{"name": "digit", "datatype": "INT64", "shape": [-1]}],
        "properties": {"input_type": "doubles", "objective_ms": "20.0"},
    }
    assert (await stage.get("/v2/models/m/versions/10")).json()["inputs"] == [
        {"name": "input", "datatype": "FP64", "shape": [-1, -1]}
    ]
    assert (await stage.get("/v2/models/t")).json()["inputs"] == [{"name": "input", "datatype": "BYTES", "shape": [-1]}]
    assert (await stage.get("/v2/models/x")).json()["inputs"] == []


@pytest.mark.parametrize("path", ["/v2/models/m/ready", "/v2/models/m/versions/1/ready"])
async def test_a_model_is_ready_when_a_worker_of_that_version_is(make_stage: MakeStage, path: str) -> None:
    stage = make_stage(ones, model())
    assert (await stage.get(path)).status_code == 503
    stage.workers.beats = [beat(WorkerState.LOADING), beat(WorkerState.READY, version="2")]
    response = await stage.get(path)
    assert (response.status_code, response.json()) == (503, {"name": "m", "ready": False})
    stage.workers.beats.append(beat(WorkerState.READY))
    response = await stage.get(path)
    assert (response.status_code, response.json()) == (200, {"name": "m", "ready": True})
    stage.workers.away = True
    response = await stage.get(path)
    assert (response.status_code, response.json()) == (503, {"error": "the store is away"})
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["", "/ready", "/versions/1", "/versions/1/ready", "/config", "/stats"])
async def test_an_unknown_model_is_404_with_one_field(make_stage: MakeStage, path: str) -> None:
    response = await make_stage(ones, model()).get(f"/v2/models/nothing{path}")
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


async def test_the_repository_index_lists_versions_and_why_they_are_not_ready(make_stage: MakeStage) -> None:
    stage = make_stage(ones, [model(version="1"), model(version="2"), model(version="10")])
    stage.workers.beats = [beat(WorkerState.READY), beat(WorkerState.LOADING, version="2")]
    rows = (await stage.post("/v2/repository/index", {})).json()
    assert rows == [
        {"name": "m", "version": "1", "state": "READY", "reason": ""},
        {"name": "m", "version": "2", "state": "UNAVAILABLE", "reason": "workers are loading"},
        {"name": "m", "version": "10", "state": "UNAVAILABLE", "reason": "no worker is running"},
    ]
    assert (await stage.post("/v2/repository/index", {"ready": True})).json() == rows[:1]
    assert (await stage.post("/v2/repository/index")).json() == rows
    assert (await stage.post("/v2/repository/index", content=b"{")).status_code == 400
    assert set((await stage.post("/v2/repository/index", [])).json()) == {"error"}


@pytest.mark.parametrize("what", ["load", "unload"])
async def test_models_are_deployed_not_loaded(make_stage: MakeStage, what: str) -> None:
    response = await make_stage(ones, model()).post(f"/v2/repository/models/m/{what}", {})
    assert response.status_code == 501
    assert "deploying" in response.json()["error"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/livez"), ("DELETE", "/metrics"), ("GET", "/a/update")])
async def test_another_method_is_405_with_what_is_allowed(make_stage: MakeStage, method: str, path: str) -> None:
    response = await make_stage(ones, model()).http.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] in {"GET", "POST"}
    assert set(response.json()) == {"error", "cause"}


async def test_every_route_is_documented(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model())
    document = (await stage.get("/openapi.json")).json()
    assert {
        "/{app_name}/predict",
        "/{app_name}/update",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
        "/v2/repository/index",
        "/readyz",
        "/metrics",
    } <= document["paths"].keys()
    predict = document["paths"]["/{app_name}/predict"]["post"]
    assert {"200", "400", "404", "413", "429", "500", "503", "504"} <= predict["responses"].keys()
    assert "requestBody" in document["paths"]["/{app_name}/update"]["post"]
    ids = [op["operationId"] for path in document["paths"].values() for op in path.values() if "operationId" in op]
    assert len(ids) == len(set(ids))
    page = await stage.get("/docs")
    assert (page.status_code, "swagger" in page.text.lower()) == (200, True)


# --------------------------------------------------------------------------------------------------------- feedback


@pytest.mark.parametrize("path", ["/a/update", "/a/update/"])
async def test_feedback_goes_to_the_applications_topic_as_a_cloud_event(make_stage: MakeStage, path: str) -> None:
    stage = make_stage(ones, model())
    body = {"uid": 7, "input": [1, 2.5], "label": 3.0, "query_id": "q"}
    response = await stage.post(path, body)
    assert (response.status_code, response.text) == (200, "Feedback received? 1")
    ((topic, value, key, headers),) = stage.publisher.published
    assert topic == "skysail.test.apps.a.feedback"
    assert json.loads(value) == body
    assert key == b"7"
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"io.skysail.feedback"
    assert headers["ce_source"] == b"/apps/a"
    assert headers["content-type"] == b"application/json"
    assert headers["ce_time"].endswith(b"Z")


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("doubles", {"input": [1], "label": 1}, {"uid": 0, "input": [1.0], "label": 1}),
        ("integers", {"input": [1.0], "label": None, "uid": "me"}, {"uid": "me", "input": [1.0], "label": None}),
        ("json", {"input": {"a": None}, "label": [None]}, {"uid": 0, "input": {"a": None}, "label": [None]}),
        ("bytes", {"input": base64.b64encode(b"x").decode(), "label": "y"}, {"uid": 0, "input": "eA==", "label": "y"}),
    ],
)
async def test_feedback_is_stored_as_it_was_given(make_stage: MakeStage, kind: str, given: Any, stored: Any) -> None:
    stage = make_stage(ones, model(kind=kind))
    assert (await stage.post("/a/update", given)).status_code == 200
    assert json.loads(stage.publisher.published[0][1]) == stored


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field `input`"),
        (b'{"input": [1]}', "missing required field `label`"),
        (b'{"input": ["a"], "label": 1}', "at `$.input[0]`"),
        (b'{"input": [1], "label": NaN}', "invalid character"),
        (b'{"input": [1], "label": 1, "uid": 1.5}', "at `$.uid`"),
        (b'{"input": [1], "label": 1, "uid": "%b"}' % (b"x" * 300), "at `$.uid`"),
        (b'{"input": [1], "label": 1, "query_id": 1}', "at `$.query_id`"),
        (b'{"input": [1], "label": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
    ],
)
async def test_feedback_of_the_wrong_form_is_refused(make_stage: MakeStage, body: bytes, named: str) -> None:
    stage = make_stage(ones, model())
    response = await stage.post("/a/update", content=body)
    assert (response.status_code, response.json()["error"]) == (400, "Json error")
    assert named in response.json()["cause"]
    assert stage.publisher.published == []


async def test_feedback_that_the_broker_did_not_store_is_a_503(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model())
    stage.publisher.away = True
    response = await stage.post("/a/update", {"input": [1], "label": 1})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    stage.publisher.away, stage.client.broker_available = False, False
    response = await stage.post("/a/update", {"input": [1], "label": 1})
    assert (response.status_code, response.json()["cause"]) == (503, "the broker is away")
    assert stage.publisher.published == []


async def test_feedback_for_nobody_is_a_404(make_stage: MakeStage) -> None:
    response = await make_stage(ones, model(), app("b")).post("/a/update", {"input": [1], "label": 1})
    assert (response.status_code, response.json()["error"]) == (404, "Application not found")
