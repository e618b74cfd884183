"""Deployments that are cut off: what was left half done is undone, and the same version can be deployed again."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from skysail.admin.deployers.python import deploy_python_closure
from skysail.admin.service.locks import ModelLocks
from skysail.admin.service.unfinished import Unfinished
from skysail.topics.errors import DeployError, InvalidNameError, UnavailableError
from tests.admin.artifacts import sealed, zip_of
from tests.admin.models import count
from tests.admin.processes import AdminProcess
from tests.services import Kafka, Redis
from tests.services.factory import Factory
from tests.waiting import wait_until


@pytest.fixture
def store(own_redis: Factory[Redis]) -> Redis:
    return own_redis()


@pytest.fixture
def admin(kafka: Kafka, store: Redis, namespace: str) -> Iterator[AdminProcess]:
    """One that starts no workers: a deployment waits for them until it is cut off."""
    with AdminProcess(kafka.address, store.url, namespace, ADMIN__MANAGER="external") as process:
        yield process


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def deploy(admin: AdminProcess, timeout_s: float | None = None) -> None:
    deploy_python_closure(admin.connection, "m", "1", count, input_type="strings", partitions=1, timeout_s=timeout_s)


def begun(admin: AdminProcess, pool: ThreadPoolExecutor) -> Future[None]:
    deployment = pool.submit(deploy, admin)
    wait_until(lambda: admin.connection.get_all_models() == ["m:1"], 20, "it has begun")
    return deployment


def traces(admin: AdminProcess) -> list[str]:
    artifacts = admin.data / "artifacts"
    files = [*artifacts.glob("models/m/*"), *artifacts.glob("deploying/*"), *artifacts.glob(".incoming*")]
    return [*admin.connection.get_all_models(), *map(str, files)]


def test_a_deployment_whose_admin_process_is_killed_is_undone_by_the_next(
    admin: AdminProcess, pool: ThreadPoolExecutor
) -> None:
    deployment = begun(admin, pool)
    admin.kill()
    assert isinstance(deployment.exception(), UnavailableError)
    admin.start()
    assert traces(admin) == []


def test_a_deployment_that_lost_its_store_is_no_obstacle_to_the_next(
    admin: AdminProcess, store: Redis, pool: ThreadPoolExecutor
) -> None:
    deployment = begun(admin, pool)
    store.kill()
    assert isinstance(deployment.exception(timeout=30), UnavailableError)
    assert "deployment_not_undone" in admin.log_tail()
    store.start()
    wait_until(admin.is_ready, 20, "the admin process sees the store")
    with pytest.raises(DeployError, match="0 of 1 workers"):  # and no conflict with what is there already
        deploy(admin, timeout_s=0.2)
    assert traces(admin) == []


def test_a_version_that_somebody_has_promoted_is_never_undone(admin: AdminProcess) -> None:
    admin.connection.register_model("m", 1, "strings")
    admin.stop()
    Unfinished(admin.data / "artifacts", admin.namespace).begin("m", "1")
    admin.start()
    assert traces(admin) == ["m:1"]
    assert admin.connection.get_current_model_version("m") == "1"


def test_an_upload_that_is_cut_off_leaves_nothing_behind(admin: AdminProcess, tmp_path: Path) -> None:
    sealed(tmp_path / "artifact")
    whole = zip_of(tmp_path / "artifact")
    head = f"PUT /api/v1/models/m/versions/1/artifact HTTP/1.1\r\nHost: x\r\nContent-Length: {len(whole)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", admin.port)) as client:
        client.sendall(head.encode() + whole[: len(whole) // 2])
        incoming = admin.data / "artifacts"
        wait_until(lambda: list(incoming.glob(".incoming*")), 10, "it has begun")
    wait_until(lambda: traces(admin) == [], 10, "nothing is left of it")
    assert "Traceback" not in admin.log_tail()


def test_a_deployment_is_noted_until_it_ends(tmp_path: Path) -> None:
    mine, other = Unfinished(tmp_path, "mine"), Unfinished(tmp_path, "other")
    assert mine.all() == []
    for name, version in (("b", "1"), ("a", "2-x")):
        mine.begin(name, version)
    other.begin("c", "3")
    assert mine.all() == [("a", "2-x"), ("b", "1")]
    assert (mine.has("b", "1"), mine.has("b", "2"), mine.has("c", "3")) == (True, False, False)
    mine.end("b", "1")
    mine.end("b", "1")
    assert mine.all() == [("a", "2-x")]
    with pytest.raises(InvalidNameError):
        mine.begin("../a", "1")


async def test_a_models_lock_is_there_while_somebody_needs_it() -> None:
    locks = ModelLocks()
    async with locks.of("m"):
        gc.collect()
        assert locks.of("m").locked()
        assert not locks.of("n").locked()
    gc.collect()
    assert len(locks._locks) == 0
    await locks.settle(1)


async def test_settling_waits_for_what_is_under_way_but_not_for_ever() -> None:
    locks = ModelLocks()
    async with locks.of("m"):
        await locks.settle(0.01)
        assert locks.of("m").locked()
