"""The stack as people run it: started in the background, looked at, stopped. First with stand-ins, then whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from skysail.admin.embedded import StackError, StackOptions, down, start_detached, status
from skysail.admin.embedded.run import announce
from skysail.admin.embedded.state import StateFolder
from tests.services import Kafka, Redis, Tansu, Valkey
from tests.services.ports import HOST, free_port
from tests.services.requirement import require
from tests.waiting import wait_until

LIMIT_S = 20
STAND_IN = Path(__file__).with_name("stand_in.py")

Options = Callable[..., StackOptions]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    if StateFolder(folder).read() is not None:
        down(folder)


@pytest.fixture
def whole(state: Path) -> Options:
    """Options of a stack of real parts on ports of its own."""

    def make(**fields: object) -> StackOptions:
        ports = {f"{part}_port": free_port() for part in ("frontend", "admin", "broker", "store")}
        return StackOptions(state=state, **{**ports, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture
def stood_in(tmp_path: Path, whole: Options, kafka: Kafka, redis_server: Redis) -> Options:
    """Options of a stack whose own processes are stand-ins, on a broker and a store of somebody else."""

    def make(how: dict[str, str] | None = None, **fields: object) -> StackOptions:
        commands = {
            f"{part}_command": (sys.executable, str(STAND_IN), part, str(tmp_path), *(how or {}).get(part, "").split())
            for part in ("frontend", "admin")
        }
        services = {"kafka": kafka.address, "redis": redis_server.url}
        return whole(**{**commands, **services, **fields})

    return make


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def frontends(pid: int) -> list[psutil.Process]:
    found = []
    for child in children(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "frontend" in child.cmdline():
                found.append(child)
    return found


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_stack_comes_up_in_the_background_and_goes_down(stood_in: Options, state: Path) -> None:
    options = stood_in()
    info = start_detached(options)
    assert info == StateFolder(state).read()
    assert (info.frontend, info.admin) == (options.frontend_url, options.admin_url)
    assert (info.embedded_broker, info.embedded_store) == (False, False)
    assert down(state) == info
    assert not psutil.pid_exists(info.pid)
    assert not listens(options.frontend_port)
    assert not listens(options.admin_port)
    assert not (state / "up.json").exists()


def test_its_parts_are_told_their_settings_by_the_environment(stood_in: Options, state: Path, tmp_path: Path) -> None:
    options = stood_in(namespace="blue", frontend_workers=2)
    start_detached(options)
    for part in ("frontend", "admin"):
        settings = json.loads((tmp_path / f"{part}.json").read_text())
        expected = {
            "SKYSAIL_NAMESPACE": "blue",
            "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": options.kafka,
            "SKYSAIL_REDIS__URL": options.redis,
            "SKYSAIL_ARTIFACTS__PATH": str(state / "namespaces" / "blue" / "artifacts"),
            "SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE": str(state / "signing.key"),
            "SKYSAIL_FRONTEND__HOST": HOST,
            "SKYSAIL_FRONTEND__PORT": str(options.frontend_port),
            "SKYSAIL_FRONTEND__WORKERS": "2",
            "SKYSAIL_ADMIN__HOST": HOST,
            "SKYSAIL_ADMIN__PORT": str(options.admin_port),
            "SKYSAIL_ADMIN__LOGS": str(state / "logs"),
        }
        assert {name: settings.get(name) for name in expected} == expected
        assert "SKYSAIL_KAFKA__FETCH_WAIT_MAX_MS" not in settings, "tuned for the embedded broker, which is not used"


def test_the_frontend_is_stopped_before_the_admin_process(stood_in: Options, state: Path, tmp_path: Path) -> None:
    start_detached(stood_in())
    down(state)
    assert (tmp_path / "stops").read_text().split() == ["frontend", "admin"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_stack_stops_in_good_order_on_a_signal(
    stood_in: Options, state: Path, tmp_path: Path, number: signal.Signals
) -> None:
    info = start_detached(stood_in())
    process = psutil.Process(info.pid)
    process.send_signal(number)
    process.wait(LIMIT_S)
    assert (tmp_path / "stops").read_text().split() == ["frontend", "admin"]
    assert not (state / "up.json").exists()


def test_a_part_that_ends_at_once_fails_the_start_with_what_it_said(stood_in: Options, state: Path) -> None:
    options = stood_in({"frontend": "ENDS"})
    with pytest.raises(StackError) as caught:
        start_detached(options)
    message = str(caught.value)
    assert "the frontend ended before it was ready (exit code 1); the end of " in message
    assert message.endswith("the frontend has no heart for it")
    assert not listens(options.admin_port), "the part that did come up was left behind"
    assert StateFolder(state).read() is None


def test_a_failed_start_tells_nothing_of_the_starts_before_it(stood_in: Options) -> None:
    with pytest.raises(StackError, match="the frontend has no heart for it"):
        start_detached(stood_in({"frontend": "ENDS"}))
    with pytest.raises(StackError, match="the frontend was not ready after 1 s") as caught:
        start_detached(stood_in({"frontend": "SILENT"}, ready_timeout_s=1.0))
    assert "no heart" not in str(caught.value)


def test_an_address_that_does_not_answer_is_named_with_its_flag(stood_in: Options, tmp_path: Path) -> None:
    away = f"{HOST}:{free_port()}"
    with pytest.raises(StackError, match=rf"the broker {away} \(--kafka\) does not answer: "):
        start_detached(stood_in(kafka=away, given_timeout_s=0.5))
    with pytest.raises(StackError) as caught:
        start_detached(stood_in(redis=f"redis://:secret@{away}/0", given_timeout_s=0.5))
    message = str(caught.value)
    assert message.startswith(f"the store redis://:***@{away}/0 (--redis) does not answer: ")
    assert "secret" not in message
    with pytest.raises(
        StackError, match=r"the store localhost:6379 \(--redis\) does not answer: Redis URL must specify"
    ):
        start_detached(stood_in(redis="localhost:6379", given_timeout_s=0))
    assert not list(tmp_path.glob("*.json")), "nothing was started"


def test_a_part_that_is_never_ready_fails_the_start_at_the_time_limit(stood_in: Options) -> None:
    options = stood_in({"admin": "SILENT", "frontend": "SILENT"}, ready_timeout_s=1.0)
    with pytest.raises(StackError, match=r"the (\w+) was not ready after 1 s; the end of .*\1\.log"):
        start_detached(options)
    assert not listens(options.admin_port)


def test_a_part_that_cannot_be_run_fails_the_start(stood_in: Options) -> None:
    with pytest.raises(StackError, match=r"admin cannot be started: .*absent-program"):
        start_detached(stood_in(admin_command=("absent-program",)))


def test_a_port_in_use_fails_the_start_and_names_the_flag(stood_in: Options) -> None:
    options = stood_in()
    with socket.create_server((HOST, options.admin_port)), pytest.raises(StackError) as caught:
        start_detached(options)
    wanted = f"port {options.admin_port}, wanted for the admin, is in use; choose another with --admin-port"
    assert str(caught.value) == wanted


def test_a_second_stack_in_one_folder_is_refused(stood_in: Options) -> None:
    start_detached(stood_in())
    with pytest.raises(StackError, match=r"a stack is running in .* already"):
        start_detached(stood_in())


def test_a_part_that_dies_is_started_again(stood_in: Options) -> None:
    info = start_detached(stood_in())
    (frontend,) = frontends(info.pid)
    frontend.kill()

    def back() -> bool:
        now = frontends(info.pid)
        return bool(now) and now != [frontend] and is_ready(info.frontend)

    wait_until(back, LIMIT_S, "another frontend that is ready")


def test_nothing_outlives_a_stack_that_is_killed_and_another_can_follow(stood_in: Options, state: Path) -> None:
    options = stood_in()
    info = start_detached(options)
    parts = children(info.pid)
    os.kill(info.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(parts, LIMIT_S)
    assert not alive
    with pytest.raises(StackError, match="nothing is running in"):
        status(state)
    assert (state / "up.json").exists()
    assert start_detached(options).pid != info.pid


def test_what_does_not_run_cannot_be_stopped_or_looked_at(state: Path) -> None:
    for ask in (down, status):
        with pytest.raises(StackError, match=re.escape(f"nothing is running in {state}")):
            ask(state)


def test_status_tells_what_answers_and_keeps_the_password_to_itself(stood_in: Options, state: Path) -> None:
    options = stood_in()
    info = msgspec.structs.replace(start_detached(options), redis="redis://:secret@store.example:6379/1")
    StateFolder(state).write(info)
    found = status(state)
    assert found["frontend"] == {"url": options.frontend_url, "ready": True}
    assert found["admin"] == {"url": options.admin_url, "ready": True}
    assert found["broker"] == {"address": options.kafka, "embedded": False, "memory_bytes": None}
    assert found["store"] == {"address": "redis://:***@store.example:6379/1", "embedded": False}
    assert "secret" not in announce(info, state)
    assert "memory" not in announce(info, state), "the broker is not ours to say this of"


@pytest.mark.embedded
def test_the_whole_stack_comes_up_on_nothing_but_the_wheels(whole: Options, state: Path) -> None:
    require(Tansu)
    require(Valkey)
    options = whole()
    info = start_detached(options)
    assert (info.embedded_broker, info.embedded_store) == (True, True)
    assert "The embedded broker keeps records in memory only" in announce(info, state)
    found = status(state)
    assert (found["frontend"]["ready"], found["admin"]["ready"]) == (True, True)
    assert found["broker"]["memory_bytes"] > 1024 * 1024
    assert httpx.get(f"{info.admin}/admin/ping").status_code == 200
    assert len(children(info.pid)) == 4
    processes = psutil.Process(info.pid).children(recursive=True)
    down(state)
    assert not [process for process in processes if process.is_running()]
    assert not [port for _, port in options.ports().values() if listens(port)]
