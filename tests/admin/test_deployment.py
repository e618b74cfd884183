"""Deployments through the admin process, with real workers, on real Kafka and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from skysail.admin.connection import Connection
from skysail.admin.deployers.python import create_endpoint, deploy_python_closure
from skysail.topics.client import PredictionClient
from skysail.topics.errors import (
    BadInputError,
    ConflictError,
    DeployError,
    NoModelError,
    NotFoundError,
    SignatureError,
    SkysailError,
)
from tests.admin.models import count, fails_to_load, kills_its_process, waits
from tests.admin.processes import AdminProcess, end
from tests.services import Kafka, Redis
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)


def deploy(admin: AdminProcess, name: str, version: str, func: Callable[..., Any] = count, **options: Any) -> None:
    options = {"partitions": 2, "input_type": "strings", **options}
    deploy_python_closure(admin.connection, name, version, func, **options)


@pytest.fixture
def ask(admin: AdminProcess, kafka: Kafka, redis_server: Redis) -> Callable[..., list[Any]]:
    """`ask(model, rows)`: the outputs, through broker and worker."""

    def predict(model: str, rows: list[Any], version: str | None = None) -> list[Any]:
        async def once() -> list[Any]:
            client = PredictionClient({"bootstrap.servers": kafka.address}, redis_server.url, admin.namespace)
            await client.start()
            try:
                return await client.predict(model, rows, version=version, timeout_s=20)
            finally:
                await client.close()

        return asyncio.run(once())

    return predict


def topics_at(kafka: Kafka, admin: AdminProcess, model: str) -> dict[str, int]:
    """Topics of a model with their partitions, without what all names share."""
    head = f"skysail.{admin.namespace}.models."
    known = AdminClient({"bootstrap.servers": kafka.address}).list_topics(timeout=10).topics
    return {
        topic.removeprefix(head): len(found.partitions)
        for topic, found in known.items()
        if topic.startswith(f"{head}{model}.")
    }


def upper(inputs: list[str]) -> list[str]:
    return [text.upper() for text in inputs]


def test_a_deployed_version_is_ready_current_and_answers(
    admin: AdminProcess, kafka: Kafka, name: str, ask: Callable[..., list[Any]]
) -> None:
    deploy(admin, name, "1", sample=["hello"], labels=["a label"], partitions=3)
    assert admin.connection.get_current_model_version(name) == "1"
    assert admin.connection.get_num_replicas(name) == 1
    info = admin.connection.get_model_info(name, 1)
    assert (info["is_current"], info["framework"], info["labels"]) == (True, "python-closure", ["a label"])
    assert info["artifact_digest"]
    assert ask(name, ["four", "seventh"]) == [4, 7]
    assert topics_at(kafka, admin, name) == {
        f"{name}.queries": 3,
        f"{name}.queries-dlt": 1,
        f"{name}.1.queries": 3,
        f"{name}.1.queries-dlt": 1,
    }


def test_an_endpoint_is_an_application_a_model_and_their_link(admin: AdminProcess, name: str) -> None:
    create_endpoint(admin.connection, name, "strings", count, default_output="none", slo_micros=50_000)
    assert admin.connection.get_linked_models(name) == [name]
    info = admin.connection.get_app_info(name)
    assert (info["default_output"], info["has_default"], info["latency_slo_micros"]) == ("none", True, 50_000)
    assert admin.connection.get_current_model_version(name) == "1"


def test_an_endpoint_whose_function_fails_on_its_sample_leaves_no_application(admin: AdminProcess, name: str) -> None:
    def broken(inputs: list[str]) -> list[str]:
        raise ZeroDivisionError(inputs)

    with pytest.raises(ZeroDivisionError):
        create_endpoint(admin.connection, name, "strings", broken, sample=["x"])
    assert name not in admin.connection.get_all_apps()


def test_a_version_that_fails_to_load_is_undone_and_the_old_one_goes_on(
    admin: AdminProcess, kafka: Kafka, name: str, ask: Callable[..., list[Any]]
) -> None:
    deploy(admin, name, "1")
    with pytest.raises(DeployError, match="version 2 failed to load") as refused:
        deploy(admin, name, "2", fails_to_load())
    assert refused.value.worker_traceback is not None
    assert refused.value.worker_traceback.startswith("Traceback (most recent call last):")
    assert "ModuleNotFoundError: No module named 'a_module_that_no_worker_has'" in refused.value.worker_traceback
    assert admin.connection.get_current_model_version(name) == "1"
    assert admin.connection.get_all_models(verbose=False).count(f"{name}:2") == 0
    assert f"{name}.2" not in {one["slot"].rpartition(".")[0] for one in admin.connection.get_processes()}
    assert not (admin.data / "artifacts" / "models" / name / "2").exists()
    wait_until(lambda: f"{name}.2.queries" not in topics_at(kafka, admin, name), 10, "its topics are gone")
    assert ask(name, ["still"]) == [5]
    deploy(admin, name, "2", upper)  # the name of the version is free again
    assert ask(name, ["still"]) == ["STILL"]


def test_a_worker_that_dies_while_loading_is_given_up_on_with_what_is_known(admin: AdminProcess, name: str) -> None:
    with pytest.raises(DeployError, match="failed to load") as refused:
        deploy(admin, name, "1", kills_its_process())
    assert "SIGABRT" in str(refused.value.worker_traceback)
    assert f"{name}:1" not in admin.connection.get_all_models()


def test_a_worker_that_fails_its_sample_says_so(admin: AdminProcess, name: str) -> None:
    def picky(inputs: list[str]) -> list[str]:
        import os

        if "SKYSAIL_WORKER__MODEL" in os.environ:
            message = "not in a worker"
            raise RuntimeError(message)
        return inputs

    with pytest.raises(DeployError) as refused:
        deploy(admin, name, "1", picky, sample=["x"])
    assert "RuntimeError: not in a worker" in str(refused.value.worker_traceback)


def test_a_version_that_is_not_ready_in_time_is_undone(admin: AdminProcess, name: str) -> None:
    with pytest.raises(DeployError, match=r"0 of 1 workers were ready after 0\.5 s"):
        deploy(admin, name, "1", waits(60), sample=None, timeout_s=0.5)
    assert f"{name}:1" not in admin.connection.get_all_models()


def test_a_version_is_promoted_when_asked_and_rolled_back(
    admin: AdminProcess, name: str, ask: Callable[..., list[Any]]
) -> None:
    deploy(admin, name, "1")
    deploy(admin, name, "2", upper, promote=False)
    assert admin.connection.get_current_model_version(name) == "1"
    assert ask(name, ["abc"]) == [3]
    assert ask(name, ["abc"], version="2") == ["ABC"]
    admin.connection.promote(name, 2)
    assert ask(name, ["abc"]) == ["ABC"]
    assert admin.connection.rollback(name) == "1"
    assert ask(name, ["abc"]) == [3]
    assert admin.connection.rollback(name) == "2"


def test_a_rollback_starts_the_workers_that_the_earlier_version_has_lost(
    admin: AdminProcess, name: str, ask: Callable[..., list[Any]]
) -> None:
    deploy(admin, name, "1")
    deploy(admin, name, "2", upper)
    admin.connection.stop_inactive_model_versions([name])
    assert admin.connection.get_num_replicas(name, 1) == 0
    assert admin.connection.rollback(name) == "1"
    assert admin.connection.get_num_replicas(name) == 1
    assert ask(name, ["abc"]) == [3]


def test_a_model_of_one_version_cannot_be_rolled_back(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1")
    with pytest.raises(ConflictError, match="no earlier version"):
        admin.connection.rollback(name)
    with pytest.raises(NotFoundError, match="no model is named"):
        admin.connection.rollback("unheard-of")


def test_a_promotion_to_a_version_that_cannot_load_leaves_the_pointer_alone(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1")
    deploy(admin, name, "2", upper, promote=False)
    admin.connection.set_num_replicas(name, 0, 2)
    artifact = admin.data / "artifacts" / "models" / name / "2" / "func.pkl"
    artifact.write_bytes(b"altered")
    with pytest.raises(DeployError, match="failed to load") as refused:
        admin.connection.promote(name, 2)
    assert "func.pkl is not what the manifest says" in str(refused.value.worker_traceback)
    assert admin.connection.get_current_model_version(name) == "1"
    assert admin.connection.get_model_info(name, 2)["replicas"] == 0, "as many workers as before are wanted"
    assert [one["slot"] for one in admin.connection.get_processes() if one["model"] == name] == [f"{name}.1.0"]


def test_a_promotion_with_more_workers_that_are_not_ready_in_time_sets_their_number_back(
    admin: AdminProcess, name: str
) -> None:
    deploy(admin, name, "1")
    with pytest.raises(DeployError, match=r"of 3 workers were ready after 0\.01 s"):
        admin.connection.set_model_version(name, 1, num_replicas=3, timeout_s=0.01)
    assert admin.connection.get_model_info(name, 1)["replicas"] == 1
    assert admin.connection.get_num_replicas(name) == 1
    admin.connection.set_model_version(name, 1, num_replicas=2)
    assert admin.connection.get_num_replicas(name) == 2


def test_replicas_are_scaled_up_and_down(admin: AdminProcess, name: str, ask: Callable[..., list[Any]]) -> None:
    deploy(admin, name, "1")
    assert admin.connection.set_num_replicas(name, 2) == ""
    admin.connection.wait_for_replicas(name, 2)
    assert ask(name, [str(number) for number in range(20)]) == [1] * 10 + [2] * 10
    admin.connection.set_num_replicas(name, 1)
    assert admin.connection.get_num_replicas(name) == 1
    assert [one["slot"] for one in admin.connection.get_processes() if one["model"] == name] == [f"{name}.1.0"]
    assert ask(name, ["abc"]) == [3]


def test_more_workers_than_partitions_are_warned_of(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1", partitions=1)
    warning = admin.connection.set_num_replicas(name, 2)
    assert warning == "the topics have 1 partitions: 1 of 2 workers will have nothing to do"


def test_a_deployment_with_more_workers_than_partitions_gets_ready(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1", partitions=1, num_replicas=2)
    assert admin.connection.get_num_replicas(name) == 2


def test_a_killed_worker_is_started_again_with_the_state_of_the_one_before(
    admin: AdminProcess, name: str, ask: Callable[..., list[Any]]
) -> None:
    deploy(admin, name, "1")

    def process() -> dict[str, Any]:
        return next(one for one in admin.connection.get_processes() if one["model"] == name)

    killed = process()
    state = psutil.Process(killed["pid"]).environ()["SKYSAIL_WORKER__STATE"]
    end(killed["pid"])
    wait_until(lambda: process()["pid"] not in (None, killed["pid"]), 20, "another process")
    again = process()
    assert (again["restarts"], again["last_exit"]) == (1, "killed by SIGKILL")
    assert psutil.Process(again["pid"]).environ()["SKYSAIL_WORKER__STATE"] == state
    assert ask(name, ["back"]) == [4]


def test_logs_are_kept_for_each_worker(admin: AdminProcess, name: str) -> None:
    def chatty(inputs: list[str]) -> list[str]:
        print("what the model says")  # noqa: T201
        return inputs

    deploy(admin, name, "1", chatty, sample=["x"])
    logs = admin.connection.get_logs(name, 1)
    assert list(logs) == [f"{name}.1.0"]
    assert "what the model says" in logs[f"{name}.1.0"]
    assert len(admin.connection.get_logs(name, 1, lines=2)[f"{name}.1.0"].splitlines()) == 2
    with pytest.raises(NotFoundError):
        admin.connection.get_logs(name, 2)


def test_a_deleted_version_is_gone_with_its_workers_topics_and_artifact(
    admin: AdminProcess, kafka: Kafka, name: str
) -> None:
    deploy(admin, name, "1")
    deploy(admin, name, "2", upper)
    with pytest.raises(ConflictError, match="promote another first"):
        admin.connection.delete_versioned_model(name, 2)
    admin.connection.delete_versioned_model(name, 1)
    assert [one for one in admin.connection.get_all_models() if one.startswith(name)] == [f"{name}:2"]
    assert [one["slot"] for one in admin.connection.get_processes() if one["model"] == name] == [f"{name}.2.0"]
    assert not (admin.data / "artifacts" / "models" / name / "1").exists()
    wait_until(lambda: f"{name}.1.queries" not in topics_at(kafka, admin, name), 10, "its topics are gone")
    assert f"{name}.queries" in topics_at(kafka, admin, name)
    with pytest.raises(ConflictError, match="no earlier version"):
        admin.connection.rollback(name)


def test_an_artifact_that_is_signed_with_another_key_is_refused(admin: AdminProcess, name: str) -> None:
    stranger = Connection(admin.url, signing_key=b"a stranger's key")
    with stranger, pytest.raises(SignatureError, match="made with another key"):
        deploy_python_closure(stranger, name, "1", count, input_type="strings")
    assert name not in {one["name"] for one in admin.connection.get_all_models(verbose=True)}


def test_an_artifact_whose_deployment_was_refused_is_no_obstacle_to_the_next(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1")
    admin.connection.register_application(name, "strings")
    admin.connection.link_model_to_app(name, name)
    with pytest.raises(BadInputError, match="which takes strings; version '2' takes doubles"):
        deploy(admin, name, "2", input_type="doubles")
    deploy(admin, name, "2")
    assert admin.connection.get_current_model_version(name) == "2"


def test_a_version_is_deployed_once(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1")
    with pytest.raises(ConflictError, match="versions are immutable"):
        deploy(admin, name, "1", upper)


def test_of_two_deployments_of_a_version_at_once_one_wins(
    admin: AdminProcess, name: str, ask: Callable[..., list[Any]]
) -> None:
    def attempt(func: Callable[..., Any]) -> Callable[..., Any] | None:
        connection = Connection(admin.url, signing_key=admin.connection.signing_key)
        try:
            deploy_python_closure(connection, name, "1", func, input_type="strings")
        except SkysailError as error:
            assert isinstance(error, ConflictError)  # noqa: PT017 - one of the two raises, whichever
            return None
        finally:
            connection.close()
        return func

    with ThreadPoolExecutor(2) as pool:
        winners = [func for func in pool.map(attempt, (count, upper)) if func is not None]
    assert len(winners) == 1
    assert ask(name, ["abc"]) == winners[0](["abc"])


def test_two_versions_that_are_deployed_at_once_both_get_ready_and_one_is_current(
    admin: AdminProcess, name: str, ask: Callable[..., list[Any]]
) -> None:
    def attempt(version: str, func: Callable[..., Any]) -> None:
        with Connection(admin.url, signing_key=admin.connection.signing_key) as connection:
            deploy_python_closure(connection, name, version, func, input_type="strings", partitions=1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, ("1", "2"), (count, upper)))
    assert ask(name, ["abc"], version="1") == [3]
    assert ask(name, ["abc"], version="2") == ["ABC"]
    current = admin.connection.get_current_model_version(name)
    assert admin.connection.rollback(name) == {"1": "2", "2": "1"}[str(current)]


def test_workers_are_stopped_by_version_by_model_and_all_and_stay_registered(admin: AdminProcess, name: str) -> None:
    other = f"{name}-b"
    deploy(admin, name, "1")
    deploy(admin, name, "2", upper)
    deploy(admin, other, "1")

    def running() -> set[str]:
        return {one["slot"] for one in admin.connection.get_processes() if one["model"] in {name, other}}

    def wanted() -> dict[str, tuple[int, int]]:
        models = admin.connection.get_status()["models"]
        named = [one for one in models if one["name"] in {name, other}]
        return {f"{one['name']}:{one['version']}": (one["replicas"], one["ready"]) for one in named}

    admin.connection.stop_versioned_models({name: ["1"]})
    assert running() == {f"{name}.2.0", f"{other}.1.0"}
    assert wanted() == {f"{name}:1": (0, 0), f"{name}:2": (1, 1), f"{other}:1": (1, 1)}
    admin.connection.stop_models([name, "unheard-of"])
    assert running() == {f"{other}.1.0"}
    admin.connection.stop_all_model_containers()
    assert running() == set()
    assert set(wanted().values()) == {(0, 0)}
    assert admin.connection.get_current_model_version(name) == "2"


def test_a_model_without_workers_here_is_registered_at_once_and_its_workers_are_not_started(
    admin: AdminProcess, name: str
) -> None:
    admin.connection.register_model(name, 1, "doubles", image="mine", labels=["a"], batch_size=3)
    info = admin.connection.get_model_info(name, 1)
    assert (info["is_current"], info["image"], info["batch"]["size"]) == (True, "mine", 3)
    assert admin.connection.get_num_replicas(name) == 0
    with pytest.raises(ConflictError, match="its workers are yours to run"):
        admin.connection.set_num_replicas(name, 1)
    with pytest.raises(DeployError, match="0 of 1 workers"):
        admin.connection.promote(name, 1, timeout_s=0.2)


def test_a_model_without_a_current_version_has_none_to_scale(admin: AdminProcess, name: str) -> None:
    deploy(admin, name, "1", promote=False)
    assert admin.connection.get_current_model_version(name) is None
    with pytest.raises(NoModelError, match="has no current version"):
        admin.connection.set_num_replicas(name, 2)
