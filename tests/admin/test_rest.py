"""`/api/v1`: what is answered to what, on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from skysail.topics import __version__
from skysail.topics.specs import InputType, ModelSpec
from tests.admin.artifacts import sealed, zip_of
from tests.admin.processes import SIGNING_KEY, AdminProcess

APP = {"name": "app", "input_type": "doubles"}


@pytest.fixture
def http(admin: AdminProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{admin.url}/api/v1", timeout=30) as client:
        yield client


def refusal(answer: httpx.Response, status: int, error: str) -> str:
    """The cause of a refusal of that kind."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"error", "cause"}
    assert body["error"] == error
    return str(body["cause"])


def spec_of(name: str, version: str = "1", **fields: Any) -> bytes:
    return msgspec.json.encode(ModelSpec(name=name, version=version, input_type=InputType.STRINGS, **fields))


def test_an_application_is_created_read_and_deleted(http: httpx.Client, name: str) -> None:
    created = http.post("/apps", json={**APP, "name": name, "latency_slo_micros": 5})
    assert (created.status_code, created.json()["latency_slo_micros"]) == (201, 5)
    assert http.get(f"/apps/{name}").json() == {**created.json(), "models": []}
    assert name in {one["name"] for one in http.get("/apps").json()}
    deleted = http.delete(f"/apps/{name}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert name in refusal(http.get(f"/apps/{name}"), 404, "NotFoundError")


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"input_type": "doubles"}, "missing required field `name`"),
        ({"name": 3}, "Expected `str`, got `int` - at `$.name`"),
        ({"name": "Not A Name"}, "is not valid"),
        ({"name": "a", "input_type": "images"}, "Invalid enum value 'images'"),
        ({"name": "a", "latency_slo_micros": 0}, "expected more than 0"),
        ({"name": "a", "cache_ttl_s": -1}, "expected 0 or more"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_a_body_that_is_no_application_is_named_by_what_is_wrong(http: httpx.Client, body: object, cause: str) -> None:
    assert cause in refusal(http.post("/apps", json=body), 400, "BadInputError")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"default_output": ' + b"[" * 100_000])
@pytest.mark.parametrize("path", ["/apps", "/models", "/models/m/versions/1/deploy"])
def test_what_is_no_json_is_a_400(http: httpx.Client, path: str, body: bytes) -> None:
    refusal(http.post(path, content=body), 400, "BadInputError")


def test_a_body_that_is_too_large_is_a_413(http: httpx.Client) -> None:
    body = b'{"name": "' + b"a" * (65 * 1024 * 1024) + b'"}'
    assert "larger than" in refusal(http.post("/apps", content=body), 413, "PayloadTooLargeError")


def test_a_version_is_registered_and_listed_in_the_order_of_registration(http: httpx.Client, name: str) -> None:
    for version in ("b", "a"):
        assert http.post("/models", content=spec_of(name, version)).status_code == 201
    model = http.get(f"/models/{name}").json()
    assert [one["version"] for one in model["versions"]] == ["b", "a"]
    assert (model["current"], model["history"]) == (None, [])
    assert "versions are immutable" in refusal(http.post("/models", content=spec_of(name, "a")), 409, "ConflictError")
    http.post("/models", content=spec_of(name, "c"), params={"current": True})
    model = http.get(f"/models/{name}").json()
    assert (model["current"], model["history"]) == ("c", ["c"])
    assert http.get(f"/models/{name}/versions/c").json()["is_current"] is True


def test_a_framework_is_the_artifacts_never_the_callers(http: httpx.Client, name: str) -> None:
    """Otherwise workers would be started for a version that has nothing to load."""
    http.post("/models", content=spec_of(name, framework="sklearn", artifact_digest="00"))
    info = http.get(f"/models/{name}/versions/1").json()
    assert (info["framework"], info["artifact_digest"]) == ("", "")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models/unheard-of"),
        ("GET", "/models/unheard-of/versions/1"),
        ("DELETE", "/models/unheard-of/versions/1"),
        ("POST", "/models/unheard-of/rollback"),
        ("GET", "/models/unheard-of/versions/1/logs"),
        ("DELETE", "/apps/unheard-of"),
        ("DELETE", "/apps/unheard-of/link"),
    ],
)
def test_what_is_unknown_is_a_404(http: httpx.Client, method: str, path: str) -> None:
    assert "unheard-of" in refusal(http.request(method, path), 404, "NotFoundError")


def test_a_path_that_is_none_is_a_404_and_a_method_that_is_none_a_405(http: httpx.Client) -> None:
    refusal(http.get("/nothing"), 404, "Not Found")
    assert http.put("/apps").headers["allow"]
    refusal(http.put("/apps"), 405, "Method Not Allowed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/m/promote", {}),
        ("/models/m/promote", {"version": "1", "replicas": 0}),
        ("/models/m/scale", {"replicas": -1}),
        ("/models/m/scale", {"replicas": "many"}),
        ("/models/m/versions/1/scale", {}),
    ],
)
def test_a_body_of_another_shape_is_a_400(http: httpx.Client, path: str, body: object) -> None:
    refusal(http.post(path, json=body), 400, "BadInputError")


def test_query_parameters_have_bounds(http: httpx.Client) -> None:
    assert "lines" in refusal(http.get("/models/m/versions/1/logs", params={"lines": 0}), 400, "BadInputError")
    refusal(http.post("/models/m/rollback", params={"timeout_s": -1}), 400, "BadInputError")


# --- artifacts


def artifact(tmp_path: Path, name: str, version: str = "1") -> bytes:
    sealed(tmp_path / name, name, version, key=SIGNING_KEY.encode())
    return zip_of(tmp_path / name)


def test_an_artifact_is_uploaded_and_uploaded_again_until_it_is_deployed(
    http: httpx.Client, name: str, tmp_path: Path
) -> None:
    data = artifact(tmp_path, name)
    for _ in range(2):
        stored = http.put(f"/models/{name}/versions/1/artifact", content=data)
        assert (stored.status_code, stored.json()["name"]) == (201, name)
    http.post("/models", content=spec_of(name, replicas=0))
    info = http.get(f"/models/{name}/versions/1").json()
    assert info["framework"] == "python-closure"
    again = http.put(f"/models/{name}/versions/1/artifact", content=data)
    assert "versions are immutable" in refusal(again, 409, "ConflictError")


@pytest.mark.parametrize("entry", ["../../evil", "/evil"])
def test_an_artifact_that_reaches_outside_is_a_400(
    http: httpx.Client, admin: AdminProcess, name: str, tmp_path: Path, entry: str
) -> None:
    sealed(tmp_path / name, name, key=SIGNING_KEY.encode())
    data = zip_of(tmp_path / name, {entry: b"evil"})
    answer = http.put(f"/models/{name}/versions/1/artifact", content=data)
    assert "lies outside" in refusal(answer, 400, "ArtifactError")
    assert not list(admin.folder.rglob("evil*"))
    assert not [path for path in (admin.data / "artifacts").iterdir() if path.name.startswith(".incoming")]


def test_what_is_no_artifact_is_a_400(http: httpx.Client, name: str, tmp_path: Path) -> None:
    path = f"/models/{name}/versions/1/artifact"
    refusal(http.put(path, content=b"no zip"), 400, "ArtifactError")
    sealed(tmp_path / "other", name, key=b"another key")
    refusal(http.put(path, content=zip_of(tmp_path / "other")), 400, "SignatureError")
    refusal(http.put("/models/Bad/versions/1/artifact", content=b""), 400, "InvalidNameError")


def test_a_deployment_needs_an_artifact_of_the_version_in_its_path(
    http: httpx.Client, name: str, tmp_path: Path
) -> None:
    path = f"/models/{name}/versions/1/deploy"
    assert "upload it first" in refusal(http.post(path, content=spec_of(name)), 400, "ArtifactError")
    assert "the body is of" in refusal(http.post(path, content=spec_of(name, "2")), 400, "BadInputError")
    http.put(f"/models/{name}/versions/1/artifact", content=artifact(tmp_path, name))
    assert "never be ready" in refusal(http.post(path, content=spec_of(name, replicas=0)), 400, "BadInputError")
    other = refusal(http.post(path, content=spec_of(name, artifact_digest="0" * 64)), 409, "ConflictError")
    assert "has been uploaded meanwhile" in other
    wrong = msgspec.json.encode(ModelSpec(name=name, version="1", input_type=InputType.DOUBLES))
    assert "the specification says doubles" in refusal(http.post(path, content=wrong), 400, "BadInputError")
    assert http.get(f"/models/{name}").status_code == 404


# --- looking


def test_status_says_what_is_wanted_and_what_is_ready(http: httpx.Client, name: str) -> None:
    http.post("/models", content=spec_of(name), params={"current": True})
    status = http.get("/status").json()
    assert (status["version"], status["ready"], status["problem"]) == (__version__, True, None)
    assert status["starts_workers"] is True
    (model,) = [one for one in status["models"] if one["name"] == name]
    assert model == {"name": name, "version": "1", "is_current": True, "replicas": 1, "ready": 0}


def test_nothing_runs_for_a_version_without_an_artifact(http: httpx.Client, name: str) -> None:
    http.post("/models", content=spec_of(name), params={"current": True})
    assert name not in {one["model"] for one in http.get("/replicas").json()}
    assert name not in {one["model"] for one in http.get("/workers").json()}
