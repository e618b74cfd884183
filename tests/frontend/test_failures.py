"""What a caller is told when there is no prediction."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from skysail.topics.errors import PayloadTooLargeError, RejectedError, SkysailError, UnavailableError
from tests.frontend.fakes import Stage, app, model

MakeStage = Callable[..., Stage]
INFER = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}


def ones(batch: Any) -> list[int]:
    return [1] * len(batch)


OUTCOMES = {
    "bad_input": (400, "Query processing error"),
    "model_error": (500, "Model error"),
    "expired": (504, "Deadline exceeded"),
    "no_model": (404, "No model"),
    "rejected": (429, "Rejected"),
}
DEFAULTED = ["model_error", "expired", "no_model"]


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_outcome_has_its_status_and_its_cause(make_stage: MakeStage, outcome: str) -> None:
    status, title = OUTCOMES[outcome]
    stage = make_stage(ones, model())
    stage.client.answers = lambda _: (outcome, "the true reason")
    response = await stage.predict({"input": [1]})
    assert response.status_code == status
    assert response.json() == {"error": title, "cause": "the true reason"}
    assert ("retry-after" in response.headers) == (status == 429)
    oip = await stage.post("/v2/models/m/infer", INFER)
    assert (oip.status_code, oip.json()) == (status, {"error": "the true reason"})
    assert ("retry-after" in oip.headers) == (status == 429)


@pytest.mark.parametrize("default", ["none of it", None, 0, {"a": [1]}])
@pytest.mark.parametrize("outcome", DEFAULTED)
async def test_a_default_output_stands_in_for_what_a_caller_cannot_mend(
    make_stage: MakeStage, outcome: str, default: Any
) -> None:
    stage = make_stage(ones, model(), app(default=default))
    stage.client.answers = lambda _: (outcome, "the true reason")
    response = await stage.predict({"input": [1]})
    body = response.json()
    assert response.status_code == 200
    assert list(body) == ["query_id", "output", "default", "default_explanation"]
    assert (body["output"], body["default"]) == (default, True)
    assert body["default_explanation"].endswith("the true reason")


@pytest.mark.parametrize("outcome", ["bad_input", "rejected"])
async def test_a_default_output_does_not_hide_what_a_caller_can_mend(make_stage: MakeStage, outcome: str) -> None:
    stage = make_stage(ones, model(), app(default=0))
    stage.client.answers = lambda _: (outcome, "the true reason")
    response = await stage.predict({"input": [1]})
    assert (response.status_code, response.json()["error"]) == OUTCOMES[outcome]


async def test_an_explanation_of_a_missed_deadline_has_clippers_words(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model(), app(default=0))
    stage.client.answers = lambda _: ("expired", "no prediction within 20 ms")
    body = (await stage.predict({"input": [1]})).json()
    assert body["default_explanation"] == (
        "Failed to retrieve a prediction response within the specified latency SLO: no prediction within 20 ms"
    )


async def test_no_linked_model_is_said_in_clippers_words(make_stage: MakeStage) -> None:
    apps = [app("a", default="-"), app("b")]
    stage = make_stage(ones, model(), apps, links={})
    body = (await stage.post("/a/predict", {"input": [1]})).json()
    assert (body["output"], body["default_explanation"]) == ("-", "No connected models found for query")
    response = await stage.post("/b/predict", {"input": [1]})
    assert response.status_code == 404
    assert response.json() == {"error": "No model", "cause": "No connected models found for query"}


REFUSALS: list[tuple[SkysailError, int, str, str | None]] = [
    (RejectedError("4096 queries are in flight", 3), 429, "Too many queries in flight", "3"),
    (UnavailableError("the broker is away"), 503, "Service unavailable", "1"),
    (PayloadTooLargeError("the record is larger than 1 bytes"), 413, "Request too large", None),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[str(refusal[1]) for refusal in REFUSALS])
@pytest.mark.parametrize("default", [{}, {"default": 0}])
async def test_a_refusal_says_when_to_try_again_whatever_the_default(
    make_stage: MakeStage, refusal: tuple[SkysailError, int, str, str | None], default: Any
) -> None:
    error, status, title, retry_after = refusal
    stage = make_stage(ones, model(), app(**default))
    stage.client.refuse = lambda _: error
    response = await stage.predict({"input": [1]})
    assert (response.status_code, response.json()) == (status, {"error": title, "cause": str(error)})
    assert response.headers.get("retry-after") == retry_after
    oip = await stage.post("/v2/models/m/infer", INFER)
    assert (oip.status_code, oip.json()) == (status, {"error": str(error)})
    assert oip.headers.get("retry-after") == retry_after


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/nobody/predict", {"input": [1]}),
        ("POST", "/nobody/update", {"input": [1], "label": 1}),
        ("POST", "/v2/models/nothing/infer", INFER),
        ("POST", "/v2/models/m/versions/9/infer", INFER),
        ("GET", "/v2/models/nothing", None),
        ("GET", "/v2/models/nothing/ready", None),
        ("GET", "/v2/models", None),
        ("POST", "/v2/repository/index", {}),
    ],
)
async def test_before_the_registry_was_read_nothing_is_said_not_to_exist(
    make_stage: MakeStage, method: str, path: str, body: Any
) -> None:
    stage = make_stage(ones, model())
    stage.client.view.loaded = False
    response = await stage.http.request(method, path, json=body)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "registry" in str(response.json())


NAMES = ["nobody", "A", "a%2Fb", "a%20b", "%00", "%ff", "..%2Fa", "a" * 5000, "a:b", "\u00fc", "a%0d%0aset-cookie:x"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_is_not_registered_is_a_404_in_the_routes_own_form(make_stage: MakeStage, name: str) -> None:
    stage = make_stage(ones, model())
    for path in (f"/{name}/predict", f"/{name}/predict/", f"/{name}/update"):
        response = await stage.post(path, {"input": [1], "label": 1})
        assert response.status_code == 404, path
        assert set(response.json()) == {"error", "cause"}
    for path in (f"/v2/models/{name}/infer", f"/v2/models/m/versions/{name}/infer", f"/v2/models/{name}/x/infer"):
        response = await stage.post(path, INFER)
        assert response.status_code == 404, path
        assert set(response.json()) == {"error"}


@pytest.mark.parametrize("path", ["/predict", "//predict", "/a//predict", "/a/predict//", "/a/b/predict", "/", "/a"])
async def test_paths_without_an_application_are_404(make_stage: MakeStage, path: str) -> None:
    # Built by hand: an HTTP client would read // as the beginning of a host.
    sent: list[MutableMapping[str, Any]] = []
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "root_path": ""}

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b'{"input": [1]}', "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await make_stage(ones, model()).frontend(scope, receive, send)
    assert sent[0]["status"] == 404
    assert sent[1]["body"].startswith(b'{"error":')


@pytest.mark.parametrize(
    "path", ["/v2/models//infer", "/v2/models/m/versions//infer", "/v2/models/m/versions/1/1/infer"]
)
async def test_empty_names_of_models_and_versions_are_404(make_stage: MakeStage, path: str) -> None:
    response = await make_stage(ones, model()).post(path, INFER)
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/a/predict", "/nobody/predict", "/v2/models/m/infer"])
async def test_another_method_is_refused_with_what_is_allowed(make_stage: MakeStage, path: str, method: str) -> None:
    response = await make_stage(ones, model()).http.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    if method != "HEAD":
        assert set(response.json()) == ({"error"} if path.startswith("/v2") else {"error", "cause"})


class Body:
    """A request body that a test hands out piece by piece, and counts."""

    def __init__(self, *messages: MutableMapping[str, Any]) -> None:
        self.taken = 0
        self._messages = list(messages)

    async def receive(self) -> MutableMapping[str, Any]:
        self.taken += 1
        return self._messages.pop(0)


async def ask(
    stage: Stage, path: str, body: Body, headers: list[tuple[bytes, bytes]]
) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    await stage.frontend(scope, body.receive, send)
    return sent


ROUTES = ["/a/predict", "/v2/models/m/infer", "/a/update", "/v2/repository/index"]


@pytest.mark.parametrize("path", ROUTES)
async def test_a_body_that_says_it_is_too_large_is_refused_unread(make_stage: MakeStage, path: str) -> None:
    body = Body()
    sent = await ask(make_stage(ones, model(), max_body_bytes=99), path, body, [(b"content-length", b"100")])
    assert (sent[0]["status"], body.taken) == (413, 0)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_body_of_unknown_length_is_read_up_to_the_limit_and_no_further(
    make_stage: MakeStage, path: str
) -> None:
    chunk = {"type": "http.request", "body": b"x" * 40, "more_body": True}
    body = Body(*[chunk] * 100)
    sent = await ask(make_stage(ones, model(), max_body_bytes=99), path, body, [])
    assert (sent[0]["status"], body.taken) == (413, 3)
    whole = Body({"type": "http.request", "body": b"x" * 100, "more_body": False})
    assert (await ask(make_stage(ones, model(), max_body_bytes=99), path, whole, []))[0]["status"] == 413


async def test_a_body_of_just_the_limit_is_taken(make_stage: MakeStage) -> None:
    body = b'{"input": [1]}'
    stage = make_stage(ones, model(), max_body_bytes=len(body))
    assert (await stage.post("/a/predict", content=body)).status_code == 200


@pytest.mark.parametrize("path", ROUTES)
async def test_a_client_that_goes_away_is_not_answered(make_stage: MakeStage, path: str) -> None:
    body = Body({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    stage = make_stage(ones, model())
    assert await ask(stage, path, body, []) == []
    assert stage.client.asked == []


async def test_a_fault_of_the_frontend_is_a_500_without_its_traceback(
    make_stage: MakeStage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage(ones, model())

    def break_down(_: object) -> SkysailError | None:
        message = "secret of the inside"
        raise ZeroDivisionError(message)

    stage.client.refuse = break_down
    for path, body, fields in (
        ("/a/predict", {"input": [1]}, {"error", "cause"}),
        ("/a/predict", {"input_batch": [[1], [2]]}, {"error", "cause"}),
        ("/v2/models/m/infer", INFER, {"error"}),
    ):
        response = await stage.post(path, body)
        assert response.status_code == 500
        assert set(response.json()) == fields
        assert "secret" not in response.text
    output = capfd.readouterr()
    assert (output.out + output.err).count("ZeroDivisionError") >= 3


async def test_a_fault_behind_fastapi_is_a_500_without_its_traceback(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage(ones, model())

    def break_down(_: int) -> bytes:
        message = "secret of the inside"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(stage.metrics, "render", break_down)
    response = await stage.get("/metrics")
    assert (response.status_code, set(response.json())) == (500, {"error", "cause"})
    assert "secret" not in response.text
    output = capfd.readouterr()
    assert "ZeroDivisionError" in output.out + output.err


async def test_what_a_client_sent_is_not_sent_back_at_length(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model(), max_body_bytes=10_000_000)
    long = "x" * 1_000_000
    for path, body in (
        ("/a/predict", {"input": [1], "version": long}),
        ("/v2/models/m/infer", {"inputs": [{"name": long, "shape": [1, 1], "datatype": "FP64", "data": ["x"]}]}),
        ("/v2/models/m/infer", {"inputs": [{"name": "x", "shape": [1, 1], "datatype": long, "data": [1]}]}),
        ("/v2/models/m/infer", {**INFER, "parameters": {"timeout": long}}),
        ("/v2/models/m/infer", {**INFER, "outputs": [{"name": long}]}),
    ):
        response = await stage.post(path, body)
        assert response.status_code == 400
        assert len(response.content) < 10_000
