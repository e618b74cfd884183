"""The frontend as a process: starting, several on one port, ending."""

from __future__ import annotations

import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from skysail.frontend import server
from skysail.frontend.__main__ import main
from tests.frontend.system import FrontendProcess, System, system_of
from tests.services import Kafka, Redis
from tests.services.factory import Factory
from tests.services.ports import free_port
from tests.waiting import wait_until


@pytest.fixture
def system(kafka: Kafka, redis_server: Redis, namespace: str, tmp_path: Path) -> Iterator[System]:
    """Nothing deployed yet."""
    with system_of(kafka.address, redis_server.url, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a frontend that is expected to give up at once: its exit status and what it said. Costs no process."""
    monkeypatch.setattr(server, "configure_logs", lambda _: None)
    monkeypatch.chdir("/")

    def run(environment: dict[str, str], *flags: str) -> tuple[int, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(list(flags))
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_frontend_that_is_told_to_end_ends_well(system: System, number: int) -> None:
    frontend = system.frontend().start()
    assert frontend.stop(number) == 0
    log = frontend.log_tail()
    assert "listening" in log
    assert "drained" in log
    assert "Traceback" not in log


def test_a_port_in_use_is_said_plainly() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "skysail.frontend", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 98
    assert f"skysail-frontend: 127.0.0.1:{port} is in use; choose another with --port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "flags", "reason"),
    [
        ({"SKYSAIL_KAFKA__NO_SUCH_THING": "1"}, (), "no.such.thing"),
        ({"SKYSAIL_REDIS__URL": "localhost:6379"}, (), "Redis URL"),
        ({"SKYSAIL_FRONTEND__WORKERS": "0"}, (), "workers"),
        ({}, ("--port", "70000"), "port"),
        ({}, ("--workers", "some"), "--workers"),
        ({"SKYSAIL_NAMESPACE": "No Good"}, (), "namespace"),
    ],
)
def test_a_wrong_setting_is_named(
    refuse: Callable[..., tuple[int, str]], environment: dict[str, str], flags: tuple[str, ...], reason: str
) -> None:
    status, said = refuse({"SKYSAIL_FRONTEND__PORT": str(free_port()), **environment}, *flags)
    assert (status, reason in said) == (2, True), said


def test_a_host_that_cannot_be_listened_on_is_named(refuse: Callable[..., tuple[int, str]]) -> None:
    status, said = refuse({}, "--host", "192.0.2.1", "--port", str(free_port()))
    assert (status, "192.0.2.1" in said) == (1, True), said


def test_a_frontend_waits_for_a_store_that_comes_later(
    kafka: Kafka, own_redis: Factory[Redis], namespace: str, tmp_path: Path
) -> None:
    store = own_redis()
    store.stop()
    with system_of(kafka.address, store.url, namespace, tmp_path) as system:
        frontend = system.frontend()
        frontend.start("/livez")
        response = frontend.wait_for("/readyz", 503)
        assert response.json()["error"] == "not available: registry, store"
        for path, body in (("/a/predict", {"input": [1]}), ("/v2/models/m/infer", {}), ("/a/update", {})):
            response = httpx.post(frontend.url + path, json=body)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1"), path
        store.start()
        frontend.wait_for("/readyz", 200)
        assert httpx.post(f"{frontend.url}/a/predict", json={"input": [1]}).status_code == 404
        assert frontend.stop() == 0  # though it never became ready


def test_a_frontend_without_a_broker_says_so_before_anybody_asks(
    redis_server: Redis, namespace: str, tmp_path: Path
) -> None:
    with system_of(f"127.0.0.1:{free_port()}", redis_server.url, namespace, tmp_path) as system:
        frontend = system.frontend().start("/livez")
        assert httpx.get(f"{frontend.url}/readyz").json()["error"] == "not available: broker"
        assert frontend.stop() == 0


# ------------------------------------------------------------------------------------------------- several processes


def children(frontend: FrontendProcess, count: int = 2) -> list[psutil.Process]:
    """The serving processes of a frontend."""

    def found() -> list[psutil.Process]:
        every = psutil.Process(frontend.process.pid).children()
        return [child for child in every if "resource_tracker" not in " ".join(child.cmdline())]

    return wait_until(lambda: found() if len(found()) == count else None, 20, f"{count} processes") or []


def refused(frontend: FrontendProcess, times: int) -> None:
    """Ask for an application that is not there, each time over a connection of its own."""
    for _ in range(times):
        assert httpx.post(f"{frontend.url}/nobody/predict", json={}).status_code == 404


def total(frontend: FrontendProcess) -> float:
    """All requests that were ever counted on the port."""
    text = httpx.get(f"{frontend.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("skysail_frontend_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def wait_for_event(frontend: FrontendProcess, event: str, count: int) -> None:
    """Until the processes of a frontend have logged an event so often, over all its runs."""
    pattern = re.compile(rf"\] {event}\b")

    def enough() -> bool:
        return len(pattern.findall(frontend.log_tail(1000))) >= count

    wait_until(enough, 30, lambda: f"{count} times {event}\n{frontend.log_tail()}")


@pytest.fixture(scope="module")
def pair(kafka: Kafka, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontendProcess]:
    """A frontend of two processes."""
    folder = tmp_path_factory.mktemp("pair")
    with system_of(kafka.address, redis_server.url, f"t{secrets.token_hex(4)}", folder) as made:
        frontend = made.frontend("--workers", "2").start()
        wait_for_event(frontend, "ready", 2)
        yield frontend


def test_several_processes_share_a_port_and_their_metrics(pair: FrontendProcess) -> None:
    before = total(pair)
    refused(pair, 40)
    wait_until(lambda: total(pair) == before + 40, 10, lambda: f"40 requests more than {before}, not {total(pair)}")
    # Whichever process is asked, it shows the same.
    assert {total(pair) for _ in range(10)} == {before + 40}


def test_a_port_that_frontends_share_is_in_use_for_others(
    pair: FrontendProcess, refuse: Callable[..., tuple[int, str]]
) -> None:
    assert refuse({}, "--port", str(pair.port), "--workers", "2")[0] == 98


def test_a_process_that_dies_is_replaced_and_keeps_its_counts(pair: FrontendProcess) -> None:
    before, counted = children(pair), total(pair)
    refused(pair, 10)
    wait_until(lambda: total(pair) == counted + 10, 10, "10 requests more")
    before[0].kill()
    before[0].wait(10)
    pids = {process.pid for process in before}
    wait_until(lambda: any(child.pid not in pids for child in children(pair)), 20, "another process")
    wait_for_event(pair, "ready", 3)
    wait_until(lambda: total(pair) == counted + 10, 10, lambda: f"the count of before, not {total(pair)}")
    assert "process_ended" in pair.log_tail()


def test_processes_end_together(pair: FrontendProcess) -> None:
    processes = children(pair)
    assert pair.stop() == 0
    assert not [process for process in processes if process.is_running()]
    wait_for_event(pair, "drained", 2)


def test_processes_do_not_outlive_a_parent_that_was_killed(pair: FrontendProcess) -> None:
    pair.start()
    processes = children(pair)
    wait_for_event(pair, "ready", 5)
    pair.kill()
    gone, alive = psutil.wait_procs(processes, timeout=20)
    assert (len(gone), alive) == (2, [])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", pair.port))
