"""The `skysail` command against a real admin process, a real frontend and real workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner, Result

from skysail.admin.cli.app import app
from skysail.admin.cli.group import ExitStatus
from skysail.topics import __version__
from tests.admin.processes import SIGNING_KEY, AdminProcess, FrontendProcess
from tests.services import Kafka, Redis
from tests.services.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

COMMANDS = (
    *("up", "down", "status", "deploy", "predict", "link", "unlink"),
    *("promote", "rollback", "scale", "workers", "logs", "inspect", "version", "dlt"),
)
Run = Callable[..., Result]
X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.fixture(scope="module")
def frontend(admin: AdminProcess, kafka: Kafka, redis_server: Redis) -> Iterator[FrontendProcess]:
    with FrontendProcess(kafka.address, redis_server.url, admin.namespace) as process:
        yield process


@pytest.fixture
def environment(admin: AdminProcess) -> dict[str, str]:
    return {"SKYSAIL_ADMIN_URL": admin.url, "SKYSAIL_ARTIFACTS__SIGNING_KEY": SIGNING_KEY, "COLUMNS": "200"}


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("apps", "ls")` in this process; fails where the exit status is not the expected one."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    def invoke(*arguments: str, status: ExitStatus = ExitStatus.DONE, **options: Any) -> Result:
        result = CliRunner().invoke(app, list(arguments), **options)
        assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
        return result

    return invoke


@pytest.fixture
def model_file(tmp_path: Path) -> str:
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(X, [0, 0, 1, 1]), path)
    return str(path)


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


def test_an_application_is_added_listed_shown_and_removed(run: Run, name: str) -> None:
    assert run("apps", "add", name, "--input-type", "strings").stdout == f"registered application {name}\n"
    row = next(line for line in run("apps", "ls").stdout.splitlines() if name in line)
    assert row.split()[:4] == [name, "strings", "3000000", "60"]
    shown = as_json(run("apps", "show", name, "-o", "json"))
    assert (shown["input_type"], shown["has_default"], shown["models"]) == ("strings", False, [])
    run("apps", "rm", name)
    assert name not in {one["name"] for one in as_json(run("apps", "ls", "-o", "json"))}


@pytest.mark.parametrize(("given", "value"), [("null", None), ('"none"', "none"), ("[1, 2]", [1, 2]), ("0", 0)])
def test_a_default_output_is_any_json_value(run: Run, name: str, given: str, value: object) -> None:
    run("apps", "add", name, "--default", given, "--slo-ms", "12.5", "--cache-ttl-s", "0")
    shown = as_json(run("apps", "show", name, "-o", "json"))
    assert (shown["default_output"], shown["has_default"]) == (value, True)
    assert (shown["latency_slo_micros"], shown["cache_ttl_s"]) == (12_500, 0)


def test_what_is_refused_is_a_line_on_stderr_and_status_1(run: Run, name: str) -> None:
    run("apps", "add", name)
    result = run("apps", "add", name, status=ExitStatus.REFUSED)
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert result.stderr.startswith("skysail: ")
    assert name in result.stderr
    assert "quotes" in run("apps", "add", "x", "--default", "text", status=ExitStatus.REFUSED).stderr
    assert "is not valid" in run("apps", "show", "No Name", status=ExitStatus.REFUSED).stderr


@pytest.mark.parametrize(
    "arguments", [["scale", "m"], ["scale", "m", "-1"], ["nonsense"], ["deploy", "x"], ["apps", "x"]]
)
def test_wrong_usage_is_status_2(run: Run, arguments: list[str]) -> None:
    run(*arguments, status=ExitStatus.USAGE)


def test_an_admin_process_that_does_not_answer_is_status_3(run: Run) -> None:
    result = run("apps", "ls", "--admin", f"http://127.0.0.1:{free_port()}", status=ExitStatus.UNAVAILABLE)
    assert "does not answer" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        *([one] for one in COMMANDS),
        *(["apps", one] for one in ("ls", "show", "add", "rm")),
        *(["models", one] for one in ("ls", "show", "rm")),
        [],
    ],
)
def test_every_command_has_help(run: Run, command: list[str]) -> None:
    assert "Usage:" in run(*command, "--help").stdout


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").stdout == run("version").stdout == f"skysail {__version__}\n"


def test_an_estimator_is_deployed_asked_promoted_rolled_back_and_scaled(
    run: Run, frontend: FrontendProcess, model_file: str, name: str
) -> None:
    flags = ["--framework", "sklearn", "--name", name, "--partitions", "2"]
    told = run("deploy", model_file, *flags, "--version", "1", "--sample", "[[0.0, 1.0]]", "--app", name).stdout
    assert told == f"{name} 1 is ready and current; application {name} asks it: POST /{name}/predict\n"
    asked = ["predict", name, "[1.0, 0.0]", "--frontend", frontend.url]
    wait_until(lambda: CliRunner().invoke(app, asked).exit_code == 0, 20, "the frontend knows the application")
    assert as_json(run(*asked))["output"] == 1
    batch = as_json(run("predict", name, "-", "--batch", "--frontend", frontend.url, input="[[0, 0], [1, 1]]"))
    assert [one["output"] for one in batch["batch_predictions"]] == [0, 1]

    deployed = as_json(run("deploy", model_file, *flags, "--version", "2", "--no-promote", "-o", "json"))
    assert deployed == {"name": name, "version": "2", "current": False, "app": None}
    assert run("promote", name, "2").stdout == f"{name} 2 is current\n"
    assert as_json(run("rollback", name, "-o", "json")) == {"name": name, "current": "1"}
    rows = [line.split() for line in run("models", "ls").stdout.splitlines() if line.startswith(name)]
    assert [row[1:3] for row in rows] == [["1", "yes"], ["2", "no"]]

    run("scale", name, "2", "--wait")
    assert f"{name}-1-" in run("workers").stdout
    workers = [one for one in as_json(run("workers", "-o", "json")) if (one["model"], one["version"]) == (name, "1")]
    assert [one["state"] for one in workers] == ["ready", "ready"]
    assert "2 partitions: 1 of 3" in run("scale", name, "3", "--version", "2").stderr
    assert f"== {name}.1.0\n" in run("logs", name, "1", "-n", "3").stdout
    assert list(as_json(run("logs", name, "1", "-o", "json"))) == [f"{name}.1.0", f"{name}.1.1"]
    run("scale", name, "0", "--version", "2")
    run("models", "rm", name, "2")
    assert "no version '2'" in run("models", "show", name, "2", status=ExitStatus.REFUSED).stderr


def test_an_application_is_linked_and_unlinked(run: Run, admin: AdminProcess, name: str) -> None:
    admin.connection.register_model(name, 1, "doubles")
    run("apps", "add", name)
    assert run("link", name, name).stdout == f"{name} asks {name}\n"
    assert "is not linked to other" in run("unlink", name, "other", status=ExitStatus.REFUSED).stderr
    assert as_json(run("unlink", name, name, "-o", "json")) == {"app": name, "models": []}


def test_the_instance_is_inspected(run: Run, frontend: FrontendProcess) -> None:
    found = as_json(run("inspect", "--frontend", frontend.url))
    assert any(name.startswith("process_resident_memory_bytes") for name in found["frontend"])
    assert isinstance(found["workers"], list)
    assert "worker id" in run("inspect", "--frontend", frontend.url, "-o", "table").stdout


def test_a_prediction_that_there_is_none_of_is_status_1(run: Run, frontend: FrontendProcess) -> None:
    result = run("predict", "unheard-of", "[1.0]", "--frontend", frontend.url, status=ExitStatus.REFUSED)
    assert "unheard-of" in result.stdout
    assert "not valid JSON" in run("predict", "x", "{", status=ExitStatus.REFUSED).stderr
    away = f"http://127.0.0.1:{free_port()}"
    assert "does not answer" in run("predict", "x", "1", "--frontend", away, status=ExitStatus.UNAVAILABLE).stderr


def test_a_function_of_a_module_here_is_deployed_with_the_modules_that_it_uses(
    environment: dict[str, str], admin: AdminProcess, tmp_path: Path, name: str
) -> None:
    """As a person does it: the real command, in the folder of the project."""
    (tmp_path / "constants_of_mine.py").write_text("FACTOR = 3\n")
    (tmp_path / "model_of_mine.py").write_text(
        "import constants_of_mine\n\ndef predict(inputs):\n    return inputs.sum(axis=1) * constants_of_mine.FACTOR\n"
    )
    command = [sys.executable, "-c", "from skysail.admin.cli import main; main()", "deploy", "model_of_mine:predict"]
    flags = ["--framework", "python", "--name", name, "--version", "1", "--sample", "[[1, 2]]", "-o", "json"]
    done = subprocess.run(
        [*command, *flags],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["current"] is True
    assert admin.connection.get_current_model_version(name) == "1"


@pytest.mark.parametrize(
    ("source", "framework", "cause"),
    [
        ("/no/such/file", "sklearn", "is not a file"),
        (__file__, "sklearn", "cannot be loaded"),
        ("no_such_module:f", "python", "cannot be imported"),
        ("json:no_such_function", "python", "cannot be imported"),
        ("json", "python", "expected MODULE:FUNCTION"),
    ],
)
def test_a_source_that_is_none_is_refused(run: Run, source: str, framework: str, cause: str) -> None:
    flags = ["--framework", framework, "--name", "m", "--version", "1"]
    assert cause in run("deploy", source, *flags, status=ExitStatus.REFUSED).stderr


def test_a_failed_deployment_shows_the_workers_own_traceback(
    run: Run, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"{name}_module"
    (tmp_path / f"{module}.py").write_text(
        "class Model:\n"
        "    def __call__(self, inputs):\n        return inputs\n"
        "    def __reduce__(self):\n        return __import__, ('a_module_that_no_worker_has',)\n"
        "predict = Model()\n"
    )
    monkeypatch.chdir(tmp_path)
    flags = ["--framework", "python", "--name", name, "--version", "1"]
    result = run("deploy", f"{module}:predict", *flags, status=ExitStatus.REFUSED)
    assert "ModuleNotFoundError: No module named 'a_module_that_no_worker_has'" in result.stderr


def test_the_command_line_loads_nothing_heavy_before_it_is_needed() -> None:
    heavy = {"numpy", "fastapi", "httpx", "rich", "confluent_kafka", "redis", "pydantic", "cloudpickle", "sklearn"}
    script = "import sys, skysail.admin.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())
