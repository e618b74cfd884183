import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from skysail.topics.settings import Settings
from tests.services.requirement import in_ci
from tests.services.service import REPOSITORY

OURS = {"frontend": "frontend", "admin": "admin", "worker": "workers"}


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command that reads compose files: Debian's docker-compose, or the engine's plugin."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], check=False).returncode == 0:
        return ["docker", "compose"]
    reason = "docker-compose is not installed"
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def config(compose: list[str]) -> dict[str, Any]:
    """docker-compose.yml as docker-compose reads it, with an environment that sets nothing."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SKYSAIL_")}
    done = subprocess.run(
        [*compose, "config"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = yaml.safe_load(done.stdout)
    return read


def dockerfile(folder: str) -> list[str]:
    return (REPOSITORY / folder / "Dockerfile").read_text("utf-8").splitlines()


def test_it_has_a_broker_a_store_and_the_three_processes(config: Mapping[str, Any]) -> None:
    assert set(config["services"]) == {"kafka", "store", *OURS}


@pytest.mark.parametrize("service", OURS)
def test_each_process_is_built_from_its_folder_and_waits_for_broker_and_store(
    config: Mapping[str, Any], service: str
) -> None:
    described = config["services"][service]
    assert described["build"]["dockerfile"] == f"{OURS[service]}/Dockerfile"
    assert (REPOSITORY / described["build"]["dockerfile"]).is_file()
    conditions = {name: needed["condition"] for name, needed in described["depends_on"].items()}
    assert conditions == {"kafka": "service_healthy", "store": "service_healthy"}
    for needed in conditions:
        assert "test" in config["services"][needed]["healthcheck"]


@pytest.mark.parametrize("service", OURS)
def test_each_process_understands_its_settings(
    config: Mapping[str, Any], service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("SKYSAIL_")]:
        monkeypatch.delenv(name)
    environment = config["services"][service]["environment"]
    given = {name: str(value) for name, value in environment.items() if value is not None}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)  # where there is no .env

    settings = Settings()

    assert settings.kafka.librdkafka() == {"bootstrap.servers": "kafka:9092"}
    assert settings.redis.url == "redis://store:6379/0"
    for name in given:
        assert has_setting(settings, name), name


def has_setting(settings: Settings, variable: str) -> bool:
    """Whether the settings have a field for `SKYSAIL_A__B`."""
    value: object = settings
    for part in variable.removeprefix("SKYSAIL_").lower().split("__"):
        if part not in type(value).model_fields:  # type: ignore[attr-defined]
            return False
        value = getattr(value, part)
    return True


def test_the_ports_are_clippers_and_the_store_keeps_its_data(config: Mapping[str, Any]) -> None:
    services = config["services"]
    assert "1337" in str(services["frontend"]["ports"])
    assert "1338" in str(services["admin"]["ports"])
    assert "--appendonly" in services["store"]["command"]
    assert {"kafka", "store", "artifacts"} == set(config["volumes"])


def test_workers_read_the_artifacts_that_the_admin_process_writes(config: Mapping[str, Any]) -> None:
    path = config["services"]["admin"]["environment"]["SKYSAIL_ARTIFACTS__PATH"]
    assert mount_mode(config, "admin", path) != "ro"
    assert mount_mode(config, "worker", path) == "ro"


def mount_mode(config: Mapping[str, Any], service: str, path: str) -> str:
    """`ro` or `rw`; docker-compose prints mounts as text, its successor as mappings."""
    for mount in config["services"][service]["volumes"]:
        if isinstance(mount, str) and mount.startswith(f"artifacts:{path}"):
            return mount.rsplit(":", 1)[1]
        if isinstance(mount, dict) and (mount["source"], mount["target"]) == ("artifacts", path):
            return "ro" if mount.get("read_only") else "rw"
    pytest.fail(f"{service} does not mount the artifacts at {path}")


@pytest.mark.parametrize("folder", OURS.values())
def test_an_image_runs_an_installed_command_as_an_ordinary_user(folder: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    instructions = dict(line.split(maxsplit=1) for line in dockerfile(folder) if line[:1].isupper())

    assert instructions["ENTRYPOINT"].split('"')[1] in project["scripts"]
    assert instructions["USER"] == "skysail"
    assert "HEALTHCHECK" in instructions


@pytest.mark.parametrize("folder", OURS.values())
def test_an_image_copies_only_what_is_sent_to_its_builder(folder: str) -> None:
    copies = [line for line in dockerfile(folder) if line.startswith("COPY ") and "--from" not in line]
    copied = {name for line in copies for name in line.split()[1:-1]}
    ignored = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}

    assert copied == sent
    for name in copied:
        assert (REPOSITORY / name).exists(), name
