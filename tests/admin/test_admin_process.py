"""The life of the admin process: what it waits for, restores, starts again, and leaves behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest
import redis
from confluent_kafka.admin import AdminClient

from skysail.admin.deployers.python import deploy_python_closure
from skysail.topics.errors import SkysailError
from tests.admin.models import count
from tests.admin.processes import AdminProcess, end
from tests.services import Kafka, Redis, Tansu
from tests.services.factory import Factory
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def store(own_redis: Factory[Redis]) -> Redis:
    return own_redis()


@pytest.fixture
def admin(kafka: Kafka, store: Redis, namespace: str) -> Iterator[AdminProcess]:
    with AdminProcess(kafka.address, store.url, namespace) as process:
        yield process


def deploy(admin: AdminProcess, version: str = "1", **options: object) -> None:
    deploy_python_closure(
        admin.connection,
        "m",
        version,
        count,
        input_type="strings",
        partitions=2,
        **options,  # type: ignore[arg-type]
    )


def whole(admin: AdminProcess) -> dict[str, object]:
    """Everything that is registered."""
    connection = admin.connection
    return {
        "apps": connection.get_all_apps(verbose=True),
        "models": connection.get_all_models(verbose=True),
        "current": connection.get_current_model_version("m"),
    }


def registered(admin: AdminProcess) -> dict[str, object] | None:
    """The same, or None while something is away."""
    try:
        return whole(admin)
    except SkysailError:
        return None


def fill(admin: AdminProcess) -> dict[str, object]:
    deploy(admin)
    admin.connection.register_model("m", 2, "strings")
    admin.connection.register_application("app", "strings", {"x": None}, cache_ttl_s=5)
    admin.connection.link_model_to_app("app", "m")
    return whole(admin)


def test_a_store_that_was_flushed_is_given_the_registry_back(admin: AdminProcess, store: Redis) -> None:
    before = fill(admin)
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    wait_until(lambda: registered(admin) == before, 10, "the registry as it was")
    wait_until(lambda: admin.connection.get_num_replicas("m", 1) == 1, 10, "its worker is heard of again")
    assert admin.connection.rollback("m") == "1"


def test_a_store_that_comes_back_empty_is_given_the_registry_back(admin: AdminProcess, store: Redis) -> None:
    before = fill(admin)
    store.kill()
    assert httpx.get(f"{admin.url}/readyz", timeout=20).status_code == 503
    store.lose_data()
    store.start()
    wait_until(lambda: registered(admin) == before, 10, "the registry as it was")


def test_a_change_to_a_store_that_is_empty_is_not_all_that_is_left(admin: AdminProcess, store: Redis) -> None:
    fill(admin)
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    admin.connection.register_application("other", "doubles")
    assert admin.connection.get_all_apps() == ["app", "other"]
    mirror = msgspec.json.decode((admin.data / "artifacts" / "registry" / f"{admin.namespace}.json").read_bytes())
    assert sorted(app["name"] for app in mirror["apps"]) == ["app", "other"]


def test_an_admin_process_that_starts_on_an_empty_store_restores_the_registry(
    admin: AdminProcess, store: Redis
) -> None:
    before = fill(admin)
    admin.stop()
    store.restart(keep_data=False)
    admin.start()
    assert whole(admin) == before
    wait_until(lambda: admin.connection.get_num_replicas("m", 1) == 1, 30, "its worker runs again")
    assert admin.connection.rollback("m") == "1", "what was current before is known again"


def test_its_workers_end_with_it_and_are_started_again_with_it(admin: AdminProcess) -> None:
    deploy(admin, num_replicas=2)
    before = admin.worker_pids()
    assert len(before) == 2
    admin.stop()
    assert not [pid for pid in before if psutil.pid_exists(pid)]
    assert "drained" in (admin.data / "logs" / "worker-m.1.0.log").read_text()
    admin.start()
    wait_until(lambda: admin.connection.get_num_replicas("m") == 2, 30, "both replicas are back")
    assert len(admin.worker_pids()) == 2


def test_a_killed_admin_process_leaves_no_workers_behind(admin: AdminProcess) -> None:
    deploy(admin)
    pids = admin.worker_pids()
    admin.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30, "its worker ends")
    admin.start()
    wait_until(lambda: admin.connection.get_num_replicas("m") == 1, 30, "its replica is back")
    assert len(admin.children()) == 1


def test_a_deployment_that_is_cut_off_by_sigterm_is_undone(kafka: Kafka, store: Redis, namespace: str) -> None:
    # Without a manager that starts workers, a deployment waits until it is cut off.
    with AdminProcess(kafka.address, store.url, namespace, ADMIN__MANAGER="external") as admin:
        with ThreadPoolExecutor(1) as pool:
            deployment = pool.submit(deploy, admin)
            wait_until(lambda: admin.connection.get_all_models() == ["m:1"], 20, "it has begun")
            admin.stop()
            assert isinstance(deployment.exception(), SkysailError)
        admin.start()
        assert admin.connection.get_all_models() == []
        assert not (admin.data / "artifacts" / "models" / "m" / "1").exists()
        assert "deployment_not_undone" not in admin.log_tail()


def test_it_says_what_it_waits_for_and_is_ready_once_that_is_there(
    own_redis: Factory[Redis], kafka: Kafka, namespace: str
) -> None:
    store = own_redis()
    store.stop()
    admin = AdminProcess(kafka.address, store.url, namespace)
    try:
        admin.launch()
        wait_until(lambda: "waiting" in admin.log_tail() and "part=store" in admin.log_tail(), 20, "it says so")
        assert httpx.get(f"{admin.url}/livez", timeout=5).status_code == 200
        assert httpx.get(f"{admin.url}/admin/ping", timeout=5).text == "PONG"
        refused = httpx.get(f"{admin.url}/readyz", timeout=20)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"] == "UnavailableError"
        store.start()
        admin.wait_ready()
    finally:
        admin.close()


def alive(admin: AdminProcess) -> bool:
    try:
        return httpx.get(f"{admin.url}/livez", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_a_broker_that_is_away_is_waited_for_and_named(store: Redis, own_kafka: Factory[Kafka], namespace: str) -> None:
    broker = own_kafka()
    broker.stop()
    admin = AdminProcess(broker.address, store.url, namespace)
    try:
        admin.launch()
        wait_until(lambda: alive(admin), 20, "it answers")
        refused = httpx.post(f"{admin.url}/api/v1/apps", json={"name": "app", "input_type": "doubles"}, timeout=30)
        assert (refused.status_code, refused.json()["error"]) == (503, "UnavailableError")
        wait_until(lambda: "part=broker" in admin.log_tail(), 30, "it says what it waits for")
        broker.start()
        admin.wait_ready()
        admin.connection.register_application("app", "doubles")
    finally:
        admin.close()


def test_a_broker_that_has_lost_its_topics_is_given_them_again_at_the_start(
    own_embedded_broker: Factory[Tansu], store: Redis, namespace: str
) -> None:
    broker = own_embedded_broker()
    with AdminProcess(broker.address, store.url, namespace, KAFKA__FETCH_WAIT_MAX_MS="2") as admin:
        deploy(admin)
        admin.stop()
        broker.restart(keep_data=False)
        admin.start()
        wait_until(lambda: admin.connection.get_num_replicas("m") == 1, 30, "its worker reads its partitions")


def test_a_port_in_use_is_a_line_on_stderr_and_a_status(kafka: Kafka, store: Redis) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "skysail.admin", "--port", str(port)],
            env={"SKYSAIL_REDIS__URL": store.url, "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": kafka.address},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 98
    assert ended.stderr == f"skysail-admin: 127.0.0.1:{port} is in use; choose another with --port\n"


def test_a_signing_key_that_cannot_be_read_is_a_line_on_stderr_and_a_status(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "skysail.admin", "--port", "0"],
        env={"SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert (
        ended.stderr == f"skysail-admin: the signing key {tmp_path}/absent cannot be read: No such file or directory\n"
    )


def test_metrics_tell_what_is_deployed_and_what_runs(admin: AdminProcess) -> None:
    deploy(admin)
    text = httpx.get(f"{admin.url}/metrics", timeout=5).text
    for line in (
        'skysail_replicas_wanted{model="m",version="1"} 1.0',
        'skysail_version_current{model="m",version="1"} 1.0',
        'skysail_workers{model="m",state="ready",version="1"} 1.0',
        'skysail_worker_restarts{model="m",version="1"} 0.0',
    ):
        assert re.search(re.escape(line), text), text
    assert "process_resident_memory_bytes" in text


def test_every_route_is_documented_with_its_body(admin: AdminProcess) -> None:
    schema = httpx.get(f"{admin.url}/openapi.json", timeout=5).json()
    body = schema["paths"]["/api/v1/models"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"name", "version", "input_type", "batch"} <= body["properties"].keys()
    assert "/admin/add_app" in schema["paths"]
    assert httpx.get(f"{admin.url}/docs", timeout=5).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_zero(admin: AdminProcess, number: signal.Signals) -> None:
    process = psutil.Process(admin.pid)
    end(admin.pid, number)
    assert process.wait(30) == 0


@pytest.mark.slow
def test_a_broker_that_loses_its_topics_is_given_them_again(
    own_embedded_broker: Factory[Tansu], store: Redis, namespace: str
) -> None:
    broker = own_embedded_broker()
    with AdminProcess(broker.address, store.url, namespace, KAFKA__FETCH_WAIT_MAX_MS="2") as admin:
        admin.connection.register_application("app", "doubles")
        broker.restart(keep_data=False)
        client = AdminClient({"bootstrap.servers": broker.address})
        topic = f"skysail.{namespace}.apps.app.feedback"
        wait_until(lambda: topic in client.list_topics(timeout=5).topics, 30, lambda: f"its topics\n{admin.log_tail()}")
        wait_until(admin.is_ready, 15, "it is ready again")
