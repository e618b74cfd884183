"""On real processes: small Python programs that say in a file what they do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from skysail.admin.backoff import Backoff
from skysail.admin.child_log import log_tail
from skysail.admin.child_process import exit_in_words, launch
from skysail.admin.supervisor import ChildSpec, ChildState, ChildStatus, Supervisor
from skysail.topics.errors import ManagerError
from tests.waiting import wait_until, wait_until_async

LIMIT_S = 10

#: Says that it runs, then sleeps; SIGTERM ends it with code 0.
SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
time.sleep(60)
"""
#: Does not end on SIGTERM.
DEAF = SLEEPER.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
#: Starts a process of its own, which does not end on SIGTERM, and says its pid.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print("child", child.pid, flush=True)
{{then}}
"""

Spec = Callable[..., ChildSpec]


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(backoff=lambda: Backoff(first_s=0.01, longest_s=0.05))
    yield supervisor
    await supervisor.stop_all()


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    def make(code: str, name: str = "one", **fields: object) -> ChildSpec:
        return ChildSpec(name=name, command=(sys.executable, "-c", code), log=tmp_path / f"{name}.log", **fields)  # type: ignore[arg-type]

    return make


async def said(spec: ChildSpec, text: str, times: int = 1) -> str:
    def look() -> str:
        output = log_tail(spec.log, 1000)
        return output if output.count(text) >= times else ""

    return await wait_until_async(look, LIMIT_S, lambda: f"{text!r} in the log, which holds {log_tail(spec.log, 20)!r}")


async def status_when(
    supervisor: Supervisor, condition: Callable[[ChildStatus], bool], name: str = "one"
) -> ChildStatus:
    def look() -> ChildStatus | None:
        status = supervisor.status()[name]
        return status if condition(status) else None

    found = await wait_until_async(look, LIMIT_S, lambda: f"a state, now {supervisor.status()[name]}")
    assert found is not None
    return found


def code_of(process: psutil.Process) -> str | None:
    try:
        return process.cmdline()[-1]
    except (psutil.NoSuchProcess, IndexError):  # it ended, or has not become the program yet
        return None


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_child_runs_with_its_environment_in_a_session_of_its_own(supervisor: Supervisor, spec: Spec) -> None:
    one = spec(
        "import os\nprint(os.environ['WORD'], os.getsid(0), flush=True)\nimport time; time.sleep(60)",
        environment={"WORD": "hello"},
    )
    await supervisor.start(one)
    output = await said(one, "hello")
    status = supervisor.status()["one"]
    assert output.split() == ["hello", str(status.pid)]
    assert (status.state, status.restarts, status.last_exit) == (ChildState.RUNNING, 0, None)


@pytest.mark.parametrize(
    ("code", "words"),
    [("raise SystemExit(7)", "exit code 7"), ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL")],
)
async def test_a_child_that_ends_unasked_is_started_again_and_its_exit_told_in_words(
    supervisor: Supervisor, spec: Spec, code: str, words: str
) -> None:
    await supervisor.start(spec(code))
    status = await status_when(supervisor, lambda status: status.restarts >= 3)
    assert status.last_exit == words


async def test_a_child_waits_out_its_pause_and_says_so(spec: Spec) -> None:
    supervisor = Supervisor(backoff=lambda: Backoff(first_s=3600, longest_s=3600))
    await supervisor.start(spec("raise SystemExit(3)"))
    status = await status_when(supervisor, lambda status: status.state is ChildState.BACKING_OFF)
    assert (status.pid, status.last_exit, status.last_code, status.restarts) == (None, "exit code 3", 3, 0)
    await asyncio.wait_for(supervisor.stop_all(), LIMIT_S)  # an hour's pause does not hold the stop up
    assert supervisor.status() == {}


async def test_a_healthy_run_makes_the_next_pause_short_again(spec: Spec) -> None:
    pauses: list[float] = []

    class Recorded(Backoff):
        def ended(self, ran_s: float) -> None:
            super().ended(ran_s)
            pauses.append(self.pause_s)

    ticks = iter([0.0, 1.0, 1.0, 2.0, 2.0, 90.0])  # start and end of each run
    supervisor = Supervisor(
        clock=lambda: next(ticks, 1000.0), backoff=lambda: Recorded(first_s=0.01, longest_s=1, healthy_s=60)
    )
    await supervisor.start(spec("pass"))
    await status_when(supervisor, lambda status: status.restarts >= 3)
    await supervisor.stop_all()
    assert pauses[:3] == [0.01, 0.02, 0.01]


async def test_a_final_exit_code_is_not_tried_again(supervisor: Supervisor, spec: Spec) -> None:
    await supervisor.start(spec("raise SystemExit(3)", final_exits=frozenset({3})))
    status = await status_when(supervisor, lambda status: status.state is ChildState.STOPPED)
    assert (status.last_code, status.restarts, status.pid) == (3, 0, None)


async def test_somebody_who_waits_for_an_end_is_told_of_it(supervisor: Supervisor, spec: Spec) -> None:
    one = spec(SLEEPER)
    await supervisor.start(one)
    await said(one, "ready")
    waiting = asyncio.create_task(supervisor.ended("one"))
    pid = supervisor.status()["one"].pid
    assert pid is not None
    assert not waiting.done()
    os.kill(pid, signal.SIGKILL)
    assert (await asyncio.wait_for(waiting, LIMIT_S)).last_exit == "killed by SIGKILL"


async def test_a_stop_is_a_request_first(supervisor: Supervisor, spec: Spec) -> None:
    one = spec(SLEEPER.replace("sys.exit(0)", "(print('goodbye'), sys.exit(0))"))
    await supervisor.start(one)
    await said(one, "ready")
    await supervisor.stop("one")
    assert "goodbye" in log_tail(one.log, 5)
    assert supervisor.status() == {}


async def test_a_child_that_does_not_hear_is_killed_after_its_grace(supervisor: Supervisor, spec: Spec) -> None:
    one = spec(DEAF, stop_grace_s=0.1)
    await supervisor.start(one)
    await said(one, "ready")
    pid = supervisor.status()["one"].pid
    assert pid is not None
    await supervisor.stop("one")
    assert gone(pid)


@pytest.mark.parametrize("then", ["time.sleep(60)", "sys.exit(0)"], ids=["killed-with-it", "left-behind-by-it"])
async def test_a_childs_own_children_do_not_outlive_it(supervisor: Supervisor, spec: Spec, then: str) -> None:
    one = spec(PARENT.format(then=then), final_exits=frozenset({0}))
    await supervisor.start(one)
    pid = int((await said(one, "child")).split()[1])
    if then == "time.sleep(60)":
        await supervisor.stop("one")
    await wait_until_async(lambda: gone(pid), LIMIT_S, "the grandchild gone")


async def test_all_children_stop_at_once(supervisor: Supervisor, spec: Spec) -> None:
    specs = [spec(SLEEPER, name) for name in ("one", "two", "three")]
    for each in specs:
        await supervisor.start(each)
    pids = [status.pid for status in supervisor.status().values()]
    await supervisor.stop_all()
    assert all(pid is not None and gone(pid) for pid in pids)
    assert supervisor.status() == {}


async def test_a_child_that_is_being_started_can_be_stopped(supervisor: Supervisor, spec: Spec) -> None:
    one = spec(SLEEPER)
    start = asyncio.create_task(supervisor.start(one))
    await asyncio.sleep(0)  # it has begun, and its process is not there yet
    assert supervisor.status()["one"].state is ChildState.STARTING
    await supervisor.stop_all()
    await start
    assert supervisor.status() == {}
    assert not [child for child in psutil.Process().children() if code_of(child) == SLEEPER]


async def test_a_name_is_given_once(supervisor: Supervisor, spec: Spec) -> None:
    await supervisor.start(spec(SLEEPER))
    with pytest.raises(ManagerError, match="a child named one is there already"):
        await supervisor.start(spec(SLEEPER))


async def test_a_name_that_nobody_has_cannot_be_stopped(supervisor: Supervisor) -> None:
    with pytest.raises(ManagerError, match="there is no child named nobody"):
        await supervisor.stop("nobody")


async def test_a_program_that_is_not_there_is_said_at_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    absent = ChildSpec(name="one", command=(str(tmp_path / "absent"),), log=tmp_path / "one.log")
    with pytest.raises(ManagerError, match=r"one cannot be started: .*absent"):
        await supervisor.start(absent)
    assert supervisor.status() == {}


async def test_a_program_that_went_away_is_tried_until_it_is_back(supervisor: Supervisor, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o755)
    await supervisor.start(ChildSpec(name="one", command=(str(program),), log=tmp_path / "one.log"))
    program.rename(tmp_path / "away")
    status = await status_when(supervisor, lambda status: "cannot be started" in (status.last_exit or ""))
    assert status.pid is None
    (tmp_path / "away").rename(program)
    await status_when(supervisor, lambda status: status.last_code == 5)


async def test_a_log_is_appended_to_over_restarts(supervisor: Supervisor, spec: Spec) -> None:
    one = spec("print('again', flush=True)")
    await supervisor.start(one)
    await said(one, "again", times=3)


async def test_a_log_that_has_grown_large_is_put_aside_at_the_next_start(supervisor: Supervisor, spec: Spec) -> None:
    one = spec(SLEEPER, largest_log_bytes=10)
    one.log.write_text("of an earlier day\n")
    await supervisor.start(one)
    assert await said(one, "ready") == "ready"
    assert one.log.with_suffix(".log.1").read_text() == "of an earlier day\n"


async def test_a_log_is_bounded_while_its_child_runs(
    supervisor: Supervisor, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skysail.admin.supervisor._LOOK_AT_LOG_S", 0.01)
    one = spec(
        "import time\nwhile True:\n    print('x' * 99, flush=True)\n    time.sleep(0.001)", largest_log_bytes=5000
    )
    await supervisor.start(one)
    aside = one.log.with_suffix(".log.1")
    await wait_until_async(aside.exists, LIMIT_S, "the log put aside")
    assert set(aside.read_text().splitlines()[:-1]) == {"x" * 99}  # the last line may have been half written
    await wait_until_async(lambda: 0 < one.log.stat().st_size < 5000, LIMIT_S, "the child going on in the same file")
    assert supervisor.status()["one"].restarts == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child's life to its parent's")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    code = f"""
import asyncio, sys
from pathlib import Path
from skysail.admin.supervisor import ChildSpec, Supervisor

async def main():
    supervisor = Supervisor()
    await supervisor.start(ChildSpec(name="one", command=(sys.executable, "-c", {SLEEPER!r}), log=Path({str(log)!r})))
    print(supervisor.status()["one"].pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: log_tail(log, 1) == "ready", LIMIT_S, "the child ready")
        parent.kill()
    wait_until(lambda: gone(pid), LIMIT_S, "the child gone")


async def test_a_log_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        await launch(["true"], {}, tmp_path / "file" / "one.log")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-40, "killed by signal 40"),
    ],
)
def test_an_exit_code_has_words(code: int, words: str) -> None:
    assert exit_in_words(code) == words
