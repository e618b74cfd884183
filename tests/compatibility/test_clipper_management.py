"""Clipper 0.4's management API, route by route: what its own admin library sends, and what it would be told.

The bodies, rules and texts are those of `src/management/src/management_frontend.hpp` at release 0.4; where Skysail says
more than Clipper (which names are taken, what is linked), the text is Skysail's and the status Clipper's.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from skysail.topics.names import KeyNames
from skysail.topics.specs import WorkerHeartbeat, WorkerState
from skysail.topics.store.workers import heartbeat_commands
from tests.admin.processes import AdminProcess
from tests.services import Kafka, Redis

Post = Callable[..., httpx.Response]

APP = {"name": "app", "input_type": "doubles", "default_output": "none", "latency_slo_micros": 30_000}
MODEL = {
    "model_name": "m",
    "model_version": "1",
    "labels": ["a label"],
    "input_type": "doubles",
    "container_name": "registry/image:1",
    "model_data_path": "/models/m/1",
    "batch_size": -1,
}


@pytest.fixture(scope="module")
def admin(kafka: Kafka, redis_server: Redis) -> Iterator[AdminProcess]:
    with AdminProcess(kafka.address, redis_server.url, f"t{secrets.token_hex(4)}") as process:
        yield process


@pytest.fixture
def name() -> str:
    return f"n{secrets.token_hex(4)}"


@pytest.fixture
def post(admin: AdminProcess) -> Iterator[Post]:
    """`post(route, **body)`, as Clipper's library does it."""
    with httpx.Client(base_url=admin.url, timeout=30) as client:

        def send(route: str, **body: object) -> httpx.Response:
            return client.post(
                f"/admin/{route}", content=json.dumps(body), headers={"content-type": "application/json"}
            )

        yield send


@pytest.fixture
def add_app(post: Post) -> Callable[..., str]:
    def add(name: str, **body: object) -> str:
        answer = post("add_app", **{**APP, "name": name, **body})
        assert answer.status_code == 200, answer.text
        return answer.text

    return add


@pytest.fixture
def add_model(post: Post) -> Callable[..., str]:
    def add(name: str, version: str = "1", **body: object) -> str:
        answer = post("add_model", **{**MODEL, "model_name": name, "model_version": version, **body})
        assert answer.status_code == 200, answer.text
        return answer.text

    return add


AddApp = Callable[..., str]
AddModel = Callable[..., str]


def refused(answer: httpx.Response) -> str:
    """The text of a 400."""
    assert answer.status_code == 400, answer.text
    return answer.text


# --- every route: what is not its body

BODIES: dict[str, dict[str, object]] = {
    "add_app": APP,
    "delete_app": {"name": "app"},
    "add_model_links": {"app_name": "app", "model_names": ["m"]},
    "delete_model_links": {"app_name": "app", "model_names": ["m"]},
    "add_model": MODEL,
    "delete_versioned_model": {"model_name": "m", "model_version": "1"},
    "set_model_version": {"model_name": "m", "model_version": "1"},
    "get_all_applications": {"verbose": True},
    "get_application": {"name": "app"},
    "get_linked_models": {"app_name": "app"},
    "get_all_models": {"verbose": True},
    "get_model": {"model_name": "m", "model_version": "1"},
    "get_all_containers": {"verbose": True},
    "get_container": {"model_name": "m", "model_version": "1", "replica_id": 0},
    "get_state": {"app_name": "app", "uid": 0},
}
FIELDS = [(route, field) for route, body in BODIES.items() for field in body]


@pytest.mark.parametrize(("route", "field"), FIELDS)
def test_a_missing_field_is_named_with_the_schema_that_is_expected(post: Post, route: str, field: str) -> None:
    text = refused(post(route, **{name: value for name, value in BODIES[route].items() if name != field}))
    assert text.startswith(f"Error parsing JSON: Object missing required field `{field}`")
    schema = text.partition("Expected JSON schema: ")[2]
    assert all(f'"{name}" := ' in schema for name in BODIES[route])


@pytest.mark.parametrize(("route", "field"), FIELDS)
def test_a_field_of_another_type_is_named_with_the_schema_that_is_expected(post: Post, route: str, field: str) -> None:
    text = refused(post(route, **{**BODIES[route], field: {"of": "no such type"}}))
    assert text.startswith("Error parsing JSON: Expected ")
    assert f"$.{field}" in text
    assert "Expected JSON schema: {" in text


@pytest.mark.parametrize("route", BODIES)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"name": "\xff"}', b"[" * 100_000, b'{"x":' * 10_000]
)
def test_what_is_no_json_object_is_refused(admin: AdminProcess, route: str, body: bytes) -> None:
    answer = httpx.post(f"{admin.url}/admin/{route}", content=body, timeout=30)
    assert refused(answer).startswith("Error parsing JSON: ")


@pytest.mark.parametrize("route", BODIES)
def test_every_route_is_a_post(admin: AdminProcess, route: str) -> None:
    assert httpx.get(f"{admin.url}/admin/{route}").status_code == 405


def test_ping_is_answered_with_pong(admin: AdminProcess) -> None:
    answer = httpx.get(f"{admin.url}/admin/ping")
    assert (answer.status_code, answer.text) == (200, "PONG")


def test_a_field_that_clipper_does_not_know_is_passed_over(post: Post, name: str) -> None:
    assert post("add_app", **{**APP, "name": name, "more": 1}).status_code == 200


# --- applications


def test_an_application_is_added_and_shown(post: Post, add_app: AddApp, name: str) -> None:
    assert add_app(name) == f"Successfully added application with name '{name}'"
    assert post("get_application", name=name).json() == {**APP, "name": name, "linked_models": []}
    assert name in post("get_all_applications", verbose=False).json()
    assert {**APP, "name": name, "linked_models": []} in post("get_all_applications", verbose=True).json()


def test_an_application_is_added_once(post: Post, add_app: AddApp, name: str) -> None:
    add_app(name)
    assert f"{name!r}" in refused(post("add_app", **{**APP, "name": name}))
    # Clipper kept the old default output when a name was registered anew (#774); so it does here, by refusing.
    post("add_app", **{**APP, "name": name, "default_output": "another"})
    assert post("get_application", name=name).json()["default_output"] == "none"


@pytest.mark.parametrize(
    ("alias", "input_type"),
    [
        *((alias, "bytes") for alias in ("bytes", "byte", "b")),
        *((alias, "integers") for alias in ("integers", "ints", "integer", "int", "i")),
        *((alias, "floats") for alias in ("floats", "float", "f")),
        *((alias, "doubles") for alias in ("doubles", "double", "d")),
        *((alias, "strings") for alias in ("strings", "string", "str", "strs", "s")),
    ],
)
def test_every_alias_of_an_input_type_is_understood(
    post: Post, add_app: AddApp, name: str, alias: str, input_type: str
) -> None:
    add_app(name, input_type=alias)
    assert post("get_application", name=name).json()["input_type"] == input_type


def test_an_unknown_input_type_is_refused_with_the_known_ones(post: Post, name: str) -> None:
    text = refused(post("add_app", **{**APP, "name": name, "input_type": "images"}))
    assert "'images'" in text
    assert all(kind in text for kind in ("bytes", "integers", "floats", "doubles", "strings"))


@pytest.mark.parametrize("bad", ["a,b", "a:b", "a/b", "", "Upper", "under_score", "-a", "a" * 64, "ä"])
def test_names_that_break_the_rule_are_refused(post: Post, bad: str) -> None:
    assert "is not valid" in refused(post("add_app", **{**APP, "name": bad}))
    assert "is not valid" in refused(post("add_model", **{**MODEL, "model_name": bad}))
    assert "is not valid" in refused(post("add_model", **{**MODEL, "model_version": bad}))


@pytest.mark.parametrize("slo", [0, -1])
def test_a_latency_objective_is_positive(post: Post, name: str, slo: int) -> None:
    assert "expected more than 0" in refused(post("add_app", **{**APP, "name": name, "latency_slo_micros": slo}))


def test_an_application_is_deleted_with_its_links(post: Post, add_app: AddApp, add_model: AddModel, name: str) -> None:
    add_app(name)
    add_model(name)
    post("add_model_links", app_name=name, model_names=[name])
    answer = post("delete_app", name=name)
    assert (answer.status_code, answer.text) == (200, f"Successfully deleted application with name '{name}'")
    assert post("get_application", name=name).json() == {}
    add_app(name)
    assert post("get_linked_models", app_name=name).json() == []


def test_an_unknown_application_cannot_be_deleted(post: Post, name: str) -> None:
    assert f"{name!r}" in refused(post("delete_app", name=name))


def test_an_unknown_application_is_an_empty_object(post: Post, name: str) -> None:
    answer = post("get_application", name=name)
    assert (answer.status_code, answer.json()) == (200, {})


# --- links


def test_a_model_is_linked_and_unlinked(post: Post, add_app: AddApp, add_model: AddModel, name: str) -> None:
    add_app(name)
    add_model(name)
    answer = post("add_model_links", app_name=name, model_names=[name])
    assert answer.status_code == 200
    assert answer.text == f"Successfully linked model with name '{name}' to application '{name}'"
    assert post("get_linked_models", app_name=name).json() == [name]
    assert post("get_application", name=name).json()["linked_models"] == [name]
    answer = post("delete_model_links", app_name=name, model_names=[name])
    assert (answer.status_code, answer.text) == (200, "Success!")
    assert post("get_linked_models", app_name=name).json() == []
    # Clipper could not link an application anew (#345).
    assert post("add_model_links", app_name=name, model_names=[name]).status_code == 200


def test_an_application_has_one_link_at_most(post: Post, add_app: AddApp, add_model: AddModel, name: str) -> None:
    add_app(name)
    add_model(name)
    add_model(f"{name}-b")
    post("add_model_links", app_name=name, model_names=[name])
    assert f"linked to {name} already" in refused(post("add_model_links", app_name=name, model_names=[name]))
    assert f"linked to {name} already" in refused(post("add_model_links", app_name=name, model_names=[f"{name}-b"]))


@pytest.mark.parametrize("count", [0, 2])
def test_a_link_is_to_exactly_one_model(
    post: Post, add_app: AddApp, add_model: AddModel, name: str, count: int
) -> None:
    add_app(name)
    names = [f"{name}-{number}" for number in range(count)]
    for model in names:
        add_model(model)
    assert "exactly one model" in refused(post("add_model_links", app_name=name, model_names=names))


def test_an_unknown_model_or_application_cannot_be_linked(post: Post, add_app: AddApp, name: str) -> None:
    assert "no application" in refused(post("add_model_links", app_name=name, model_names=["m"]))
    add_app(name)
    assert "no model" in refused(post("add_model_links", app_name=name, model_names=[name]))


def test_a_model_of_another_input_type_cannot_be_linked(
    post: Post, add_app: AddApp, add_model: AddModel, name: str
) -> None:
    add_app(name, input_type="strings")
    add_model(name, input_type="doubles")
    text = refused(post("add_model_links", app_name=name, model_names=[name]))
    assert "doubles" in text
    assert "strings" in text


def test_a_link_that_is_not_there_cannot_be_removed(
    post: Post, add_app: AddApp, add_model: AddModel, name: str
) -> None:
    assert "no application" in refused(post("delete_model_links", app_name=name, model_names=[name]))
    add_app(name)
    add_model(name)
    assert f"not linked to {name}" in refused(post("delete_model_links", app_name=name, model_names=[name]))
    post("add_model_links", app_name=name, model_names=[name])
    assert "not linked to other" in refused(post("delete_model_links", app_name=name, model_names=[name, "other"]))
    assert post("get_linked_models", app_name=name).json() == [name]


def test_links_of_an_unknown_application_are_refused(post: Post, name: str) -> None:
    assert "no application" in refused(post("get_linked_models", app_name=name))


# --- models


def test_a_model_is_added_current_and_shown(post: Post, add_model: AddModel, name: str) -> None:
    assert add_model(name) == f"Successfully added model with name '{name}' and input type 'doubles'"
    shown = {**MODEL, "model_name": name, "is_current_version": True}
    assert post("get_model", model_name=name, model_version="1").json() == shown
    assert f"{name}:1" in post("get_all_models", verbose=False).json()
    assert shown in post("get_all_models", verbose=True).json()


def test_adding_a_version_always_makes_it_current(post: Post, add_model: AddModel, name: str) -> None:
    add_model(name, "1")
    add_model(name, "2")
    assert post("get_model", model_name=name, model_version="1").json()["is_current_version"] is False
    assert post("get_model", model_name=name, model_version="2").json()["is_current_version"] is True


def test_a_version_is_added_once(post: Post, add_model: AddModel, name: str) -> None:
    add_model(name)
    text = refused(post("add_model", **{**MODEL, "model_name": name}))
    assert f"{name!r}" in text
    assert "'1'" in text


@pytest.mark.parametrize("size", [1, 500])
def test_a_fixed_batch_size_is_kept(post: Post, add_model: AddModel, name: str, size: int) -> None:
    add_model(name, batch_size=size)
    assert post("get_model", model_name=name, model_version="1").json()["batch_size"] == size


@pytest.mark.parametrize("size", [0, -2, -100])
def test_a_batch_size_is_minus_one_or_positive(post: Post, name: str, size: int) -> None:
    text = refused(post("add_model", **{**MODEL, "model_name": name, "batch_size": size}))
    assert "positive or -1" in text
    assert post("get_model", model_name=name, model_version="1").json() == {}


def test_a_new_version_takes_what_linked_applications_take(
    post: Post, add_app: AddApp, add_model: AddModel, name: str
) -> None:
    add_app(name)
    add_model(name)
    post("add_model_links", app_name=name, model_names=[name])
    body = {**MODEL, "model_name": name, "model_version": "2", "input_type": "strings"}
    assert "takes doubles; version '2' takes strings" in refused(post("add_model", **body))
    assert post("get_model", model_name=name, model_version="2").json() == {}


def test_labels_and_images_may_hold_anything(post: Post, add_model: AddModel, name: str) -> None:
    add_model(name, labels=["a,b:c", "ü"], container_name="localhost:5000/x:y")
    shown = post("get_model", model_name=name, model_version="1").json()
    assert (shown["labels"], shown["container_name"]) == (["a,b:c", "ü"], "localhost:5000/x:y")


def test_an_unknown_version_is_an_empty_object(post: Post, add_model: AddModel, name: str) -> None:
    add_model(name)
    for model, version in ((name, "2"), (f"{name}-b", "1")):
        answer = post("get_model", model_name=model, model_version=version)
        assert (answer.status_code, answer.json()) == (200, {})


def test_the_current_version_is_set(post: Post, add_model: AddModel, name: str) -> None:
    add_model(name, "1")
    add_model(name, "2")
    answer = post("set_model_version", model_name=name, model_version="1")
    assert (answer.status_code, answer.text) == (200, f"Successfully set model with name '{name}' to version '1'")
    assert post("get_model", model_name=name, model_version="1").json()["is_current_version"] is True


def test_only_a_version_that_exists_is_made_current(post: Post, add_model: AddModel, name: str) -> None:
    assert f"{name!r}" in refused(post("set_model_version", model_name=name, model_version="1"))
    add_model(name)
    assert "'2'" in refused(post("set_model_version", model_name=name, model_version="2"))
    assert post("get_model", model_name=name, model_version="1").json()["is_current_version"] is True


def test_a_version_is_deleted_even_the_current_one(post: Post, add_model: AddModel, name: str) -> None:
    add_model(name, "1")
    add_model(name, "2")
    answer = post("delete_versioned_model", model_name=name, model_version="2")
    assert answer.status_code == 200
    assert answer.text == f"Successfully deleted model with name '{name}' and version '2'"
    assert post("get_model", model_name=name, model_version="2").json() == {}
    assert post("get_model", model_name=name, model_version="1").json()["is_current_version"] is False
    assert f"{name}:2" not in post("get_all_models", verbose=False).json()


def test_an_unknown_version_cannot_be_deleted(post: Post, add_model: AddModel, name: str) -> None:
    assert f"{name!r}" in refused(post("delete_versioned_model", model_name=name, model_version="1"))
    add_model(name)
    assert "'2'" in refused(post("delete_versioned_model", model_name=name, model_version="2"))


# --- containers and state


@pytest.fixture
def beat(admin: AdminProcess, redis_server: Redis) -> Iterator[Callable[..., None]]:
    """A worker that says that it runs."""
    with redis.Redis.from_url(redis_server.url) as client:
        send: Any = client.execute_command

        def write(worker_id: str, model: str, state: WorkerState = WorkerState.READY) -> None:
            heartbeat = WorkerHeartbeat(
                worker_id=worker_id,
                model=model,
                version="1",
                state=state,
                batch_cap=8,
                sent_ms=time.time_ns() // 1_000_000,
            )
            for command in heartbeat_commands(KeyNames(admin.namespace), heartbeat):
                send(*command)

        yield write


def test_workers_that_are_ready_are_shown_as_containers(
    post: Post, add_model: AddModel, beat: Callable[..., None], name: str
) -> None:
    add_model(name)
    for number in range(2):
        beat(f"{name}-{number}", name)
    beat(f"{name}-loading", name, WorkerState.LOADING)
    names = [one for one in post("get_all_containers", verbose=False).json() if one.startswith(name)]
    assert names == [f"{name}:1:0", f"{name}:1:1"]
    shown = {
        "model_id": f"{name}:1",
        "model_name": name,
        "model_version": "1",
        "model_replica_id": 1,
        "input_type": "doubles",
        "worker_id": f"{name}-1",
        "batch_size": 8,
    }
    assert shown in post("get_all_containers", verbose=True).json()
    assert post("get_container", model_name=name, model_version="1", replica_id=1).json() == shown


def test_an_unknown_container_is_an_empty_object(post: Post, name: str) -> None:
    answer = post("get_container", model_name=name, model_version="1", replica_id=0)
    assert (answer.status_code, answer.json()) == (200, {})


def test_the_selection_state_is_the_default_output(post: Post, add_app: AddApp, name: str) -> None:
    add_app(name)
    answer = post("get_state", app_name=name, uid=0)
    assert (answer.status_code, answer.text) == (200, "none")
    assert "no application" in refused(post("get_state", app_name=f"{name}-b", uid=0))
