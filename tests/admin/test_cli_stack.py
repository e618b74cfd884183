"""`skysail up`, `status` and `down` as a person types them, on a broker and a store of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from skysail.admin.embedded.control import down
from skysail.admin.embedded.run import announce
from skysail.admin.embedded.state import StateFolder, UpInfo
from tests.services import Kafka, Redis
from tests.services.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

COMMAND = (sys.executable, "-c", "from skysail.admin.cli import main; main()")
Done = subprocess.CompletedProcess[str]
Type = Callable[..., Done]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "a state folder"
    yield folder
    if StateFolder(folder).read() is not None:
        down(folder)


@pytest.fixture
def environment(state: Path) -> dict[str, str]:
    """What `export SKYSAIL_STATE=…` gives, and nothing else of Skysail's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKYSAIL_")}
    return {**kept, "SKYSAIL_STATE": str(state), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def typed(environment: dict[str, str], tmp_path: Path) -> Type:
    """`typed("status")`: the command's end, with what it printed."""

    def run(*arguments: str, status: int = 0) -> Done:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def flags(kafka: Kafka, redis_server: Redis, namespace: str) -> list[str]:
    ports = {"--frontend-port": free_port(), "--admin-port": free_port()}
    services = ["--kafka", kafka.address, "--redis", redis_server.url, "--namespace", namespace]
    return [*services, *(text for flag, port in ports.items() for text in (flag, str(port)))]


def test_a_stack_is_started_asked_looked_at_and_stopped(
    typed: Type, flags: list[str], state: Path, tmp_path: Path
) -> None:
    (tmp_path / "lengths.py").write_text("def predict(inputs):\n    return [len(text) for text in inputs]\n")
    up = typed("up", "--detach", *flags).stdout
    assert "Skysail is up (pid " in up
    assert "(embedded)" not in up
    assert "export SKYSAIL_STATE" not in up, "it is there already"

    again = typed("up", "--detach", *flags, status=1)
    assert again.stderr.startswith(f"skysail: a stack is running in {state} already")
    assert len(again.stderr.splitlines()) == 1

    options = ["--framework", "python", "--name", "lengths", "--version", "1", "--input-type", "strings"]
    # Neither a URL nor a key is named: both are the running stack's.
    typed("deploy", "lengths:predict", *options, "--app", "app", "--sample", '["x"]')
    assert json.loads(typed("predict", "app", '"four"').stdout)["output"] == 4
    assert json.loads(typed("models", "ls", "-o", "json").stdout)[0]["is_current"] is True

    found = json.loads(typed("status", "-o", "json").stdout)
    assert (found["frontend"]["ready"], found["admin"]["ready"]) == (True, True)
    assert (found["broker"]["embedded"], found["store"]["embedded"]) == (False, False)
    assert typed("status").stdout.count("ready") == 2

    processes = psutil.Process(found["pid"]).children(recursive=True)
    assert len(processes) == 3, "the frontend, the admin process and a worker"
    assert f"(pid {found['pid']})" in typed("down").stdout
    assert not [process for process in processes if process.is_running()]
    for command in ("down", "status"):
        assert typed(command, status=1).stderr == f"skysail: nothing is running in {state}\n"


def test_ctrl_c_stops_a_stack_in_the_foreground(environment: dict[str, str], flags: list[str], tmp_path: Path) -> None:
    command = [*COMMAND, "up", *flags]
    log = tmp_path / "log"
    with log.open("w") as output:
        stack = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        wait_until(lambda: "Skysail is up" in log.read_text(), 60, lambda: f"it is up; it said {log.read_text()}")
        processes = psutil.Process(stack.pid).children(recursive=True)
        stack.send_signal(signal.SIGINT)
        assert stack.wait(60) == 0
        assert not [process for process in processes if process.is_running()]
        assert "Traceback" not in log.read_text()
    finally:
        stack.kill()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["-d", "--kafka", "127.0.0.1:1"], 1, "the broker 127.0.0.1:1 (--kafka) does not answer: "),
        (["--namespace", "No-Name"], 1, "namespace 'No-Name' is not valid"),
        (["--frontend-port", "70000"], 2, "Invalid value for '--frontend-port'"),
        (
            ["--frontend-port", "29999", "--admin-port", "29999"],
            1,
            "port 29999, wanted for the admin, is the frontend's",
        ),
    ],
    ids=["nobody-there", "no-name", "no-port", "one-port-twice"],
)
def test_what_cannot_be_is_said_without_a_traceback(typed: Type, arguments: list[str], status: int, said: str) -> None:
    done = typed("up", *arguments, status=status)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stack_elsewhere_is_announced_with_how_to_find_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = UpInfo(
        pid=1, created_s=0, frontend="f", admin="a", kafka="k", redis="r", embedded_broker=False, embedded_store=False
    )
    monkeypatch.setenv("SKYSAIL_STATE", str(tmp_path))
    assert "SKYSAIL_STATE" not in announce(info, tmp_path)
    assert f"export SKYSAIL_STATE='{tmp_path}/else where'" in announce(info, tmp_path / "else where")
