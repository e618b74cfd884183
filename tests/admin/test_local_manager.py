"""The local manager, with workers that are small scripts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from skysail.admin.managers import Replica
from skysail.admin.managers.external import ExternalManager
from skysail.admin.managers.local import LocalManager
from skysail.admin.managers.orphans import end_orphan
from skysail.topics.errors import ManagerError, NotFoundError
from tests.waiting import wait_until_async

RUNS = "import os, time; print('up', os.environ['SKYSAIL_WORKER__STATE'], flush=True); time.sleep(600)"
CANNOT_LOAD = "import sys; print('cannot load', flush=True); sys.exit(3)"
#: Holds its state folder as a worker does, and ends on no SIGTERM.
HANGS = """
import fcntl, os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
state = Path(os.environ["SKYSAIL_WORKER__STATE"])
state.mkdir(parents=True, exist_ok=True)
lock = (state / "lock").open("w")
fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("holds", flush=True)
time.sleep(float(sys.argv[1]))
print("done")
"""
CRASHES = "import os; print('about to end', flush=True); os.abort()"

MakeManager = Callable[[str], LocalManager]


@pytest.fixture
async def manager_of(tmp_path: Path) -> AsyncIterator[MakeManager]:
    made: list[LocalManager] = []

    def make(script: str) -> LocalManager:
        command = (sys.executable, "-c", script)
        made.append(LocalManager(tmp_path / "logs", tmp_path / "state", {"EXTRA": "1"}, command, drain_s=0.5))
        return made[-1]

    yield make
    for manager in made:
        await manager.close()


def slots(manager: LocalManager) -> list[str]:
    return [replica.slot for replica in manager.replicas()]


async def test_as_many_workers_run_as_wanted(manager_of: MakeManager) -> None:
    manager = manager_of(RUNS)
    await manager.scale("m", "1", 2)
    await manager.scale("m", "2", 1)
    assert slots(manager) == ["m.1.0", "m.1.1", "m.2.0"]
    before = {replica.slot: replica.pid for replica in manager.replicas()}
    await manager.scale("m", "1", 1)
    assert slots(manager) == ["m.1.0", "m.2.0"]
    await manager.scale("m", "1", 3)
    after = {replica.slot: replica.pid for replica in manager.replicas()}
    assert after["m.1.0"] == before["m.1.0"]
    await manager.scale("m", "1", 0)
    assert slots(manager) == ["m.2.0"]


async def test_each_worker_is_told_its_model_version_and_state_folder(manager_of: MakeManager, tmp_path: Path) -> None:
    manager = manager_of(RUNS)
    await manager.scale("m", "1", 2)
    environments = [psutil.Process(replica.pid).environ() for replica in manager.replicas()]
    assert [one["SKYSAIL_WORKER__MODEL"] for one in environments] == ["m", "m"]
    assert [one["SKYSAIL_WORKER__VERSION"] for one in environments] == ["1", "1"]
    assert [one["SKYSAIL_WORKER__STATE"] for one in environments] == [
        str(tmp_path / "state" / "m.1.0"),
        str(tmp_path / "state" / "m.1.1"),
    ]
    assert environments[0]["EXTRA"] == "1"


async def test_a_worker_that_cannot_load_its_model_is_not_started_again_by_itself(manager_of: MakeManager) -> None:
    manager = manager_of(CANNOT_LOAD)
    await manager.scale("m", "1", 1)
    await wait_until_async(lambda: manager.failure("m", "1") is not None, 10, "it has given up")
    assert manager.failure("m", "1") == "cannot load"
    (replica,) = manager.replicas()
    assert (replica.state, replica.pid, replica.restarts, replica.last_exit) == ("stopped", None, 0, "exit code 3")


async def test_scaling_starts_a_worker_that_gave_up_anew(manager_of: MakeManager) -> None:
    manager = manager_of(CANNOT_LOAD)
    await manager.scale("m", "1", 1)
    await wait_until_async(lambda: manager.failure("m", "1") is not None, 10, "it has given up")
    await manager.scale("m", "1", 1)
    await wait_until_async(lambda: manager.failure("m", "1") is not None, 10, "it has given up again")
    assert manager.logs("m", "1", 10) == {"m.1.0": "cannot load\ncannot load"}


async def test_a_worker_that_ends_again_and_again_is_a_failure_with_what_it_said_last(
    manager_of: MakeManager,
) -> None:
    manager = manager_of(CRASHES)
    await manager.scale("m", "1", 1)
    assert manager.failure("m", "1") is None
    await wait_until_async(lambda: manager.failure("m", "1") is not None, 20, "that is known")
    why = str(manager.failure("m", "1"))
    assert why.startswith("about to end")
    assert why.endswith("m.1.0 ended 3 times, at last with killed by SIGABRT")


async def test_failures_are_counted_from_the_last_scaling(manager_of: MakeManager) -> None:
    manager = manager_of(CRASHES)
    await manager.scale("m", "1", 1)
    await wait_until_async(lambda: manager.failure("m", "1") is not None, 20, "it ends again and again")
    await manager.scale("m", "1", 1)
    assert manager.failure("m", "1") is None


async def test_a_version_that_nobody_asked_for_has_no_failure_and_no_logs(manager_of: MakeManager) -> None:
    manager = manager_of(RUNS)
    assert manager.failure("m", "1") is None
    with pytest.raises(NotFoundError, match="has no logs"):
        manager.logs("m", "1", 10)


async def test_logs_are_of_the_version_that_was_asked_for_alone(manager_of: MakeManager, tmp_path: Path) -> None:
    manager = manager_of(RUNS)
    await manager.scale("m", "1", 1)
    await manager.scale("m", "11", 1)
    await wait_until_async(lambda: "up" in manager.logs("m", "1", 5)["m.1.0"], 10, "it has said something")
    assert manager.logs("m", "1", 5) == {"m.1.0": f"up {tmp_path / 'state' / 'm.1.0'}"}


async def test_closing_stops_all_workers(manager_of: MakeManager) -> None:
    manager = manager_of(RUNS)
    await manager.scale("m", "1", 2)
    pids = [replica.pid for replica in manager.replicas()]
    await manager.close()
    assert manager.replicas() == []
    assert not [pid for pid in pids if pid is not None and psutil.pid_exists(pid)]


@pytest.mark.parametrize("lives_s", [0.3, 600], ids=["one-that-finishes", "one-that-hangs"])
async def test_a_worker_of_an_earlier_admin_process_is_out_of_the_way_before_another_gets_its_state(
    manager_of: MakeManager, tmp_path: Path, lives_s: float
) -> None:
    environment = {**os.environ, "SKYSAIL_WORKER__STATE": str(tmp_path / "state" / "m.1.0")}
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", HANGS, str(lives_s))
    orphan = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, start_new_session=True)
    assert orphan.stdout is not None
    assert await orphan.stdout.readline() == b"holds\n"
    manager = manager_of(RUNS)
    await manager.scale("m", "1", 2)
    assert await orphan.stdout.read() == (b"done\n" if lives_s < 1 else b"")
    assert [replica.restarts for replica in manager.replicas()] == [0, 0]


async def test_a_state_folder_that_nobody_holds_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    await asyncio.wait_for(end_orphan(tmp_path, grace_s=600), 10)
    await asyncio.wait_for(end_orphan(tmp_path / "absent", grace_s=600), 10)


async def test_a_worker_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    manager = LocalManager(tmp_path, tmp_path, command=("/there/is/no/such/program",))
    with pytest.raises(ManagerError, match="cannot be started"):
        await manager.scale("m", "1", 1)
    assert manager.replicas() == []
    await manager.scale("m", "1", 0)


async def test_the_external_manager_starts_nothing_and_keeps_no_logs() -> None:
    manager = ExternalManager()
    await manager.scale("m", "1", 3)
    none: list[Replica] = []
    assert manager.replicas() == none
    assert manager.failure("m", "1") is None
    with pytest.raises(NotFoundError, match="where its workers run"):
        manager.logs("m", "1", 10)
    await manager.close()
