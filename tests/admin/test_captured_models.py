"""Predict functions of every form, with the user's own modules, served by real workers that have none of them."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skysail.admin.deployers.capture import capture
from skysail.admin.deployers.python import deploy_python_closure
from skysail.admin.transport import zipped
from skysail.topics.artifacts import Environment, Manifest, seal
from skysail.topics.client import PredictionClient
from skysail.topics.errors import DeployError
from skysail.topics.specs import InputType
from tests.admin.models import count
from tests.admin.processes import SIGNING_KEY, AdminProcess
from tests.services import Kafka, Redis
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

#: A module and a package beside the user's script, which is in another folder than any worker runs in.
SOURCES = {
    "NAME_words.py": "SHOUT = '!'\ndef loud(text):\n    return text.upper() + SHOUT\n",
    "NAME_package/__init__.py": "from NAME_package.inner import Prefix\n",
    "NAME_package/inner.py": (
        "from NAME_package import deep\n"
        "class Prefix:\n"
        "    def __init__(self, text):\n        self.text = text\n"
        "    def __call__(self, inputs):\n        return [self.text + deep.tail(one) for one in inputs]\n"
    ),
    "NAME_package/deep.py": "from NAME_words import loud\ndef tail(text):\n    return loud(text)\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[str]:
    """The name that the modules of a project in a folder of its own begin with."""
    folder = tmp_path / "project"
    for file, source in SOURCES.items():
        path = folder / file.replace("NAME", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.replace("NAME", name))
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    yield name
    for module in [one for one in sys.modules if one.startswith(f"{name}_")]:
        del sys.modules[module]


@pytest.fixture
def ask(admin: AdminProcess, kafka: Kafka, redis_server: Redis) -> Callable[[str, list[str]], list[Any]]:
    def predict(model: str, rows: list[str]) -> list[Any]:
        async def once() -> list[Any]:
            client = PredictionClient({"bootstrap.servers": kafka.address}, redis_server.url, admin.namespace)
            await client.start()
            try:
                return await client.predict(model, rows, timeout_s=30)
            finally:
                await client.close()

        return asyncio.run(once())

    return predict


def of_a_module(project: str) -> Callable[[list[str]], Any]:
    words = importlib.import_module(f"{project}_words")
    return lambda inputs: [words.loud(one) for one in inputs]


def of_a_package(project: str) -> Callable[[list[str]], Any]:
    prefix: Callable[[list[str]], Any] = importlib.import_module(f"{project}_package").Prefix("> ")
    return prefix


def a_coroutine_function(project: str) -> Callable[[list[str]], Any]:
    words = importlib.import_module(f"{project}_words")

    async def predict(inputs: list[str]) -> list[str]:
        await asyncio.sleep(0)
        return [words.loud(one) for one in inputs]

    return predict


def a_method(project: str) -> Callable[[list[str]], Any]:
    words = importlib.import_module(f"{project}_words")

    class Model:
        mark = "?"

        def predict(self, inputs: list[str]) -> list[str]:
            return [words.loud(one) + self.mark for one in inputs]

    return Model().predict


@pytest.mark.parametrize(
    ("make", "answers"),
    [
        (of_a_module, ["AB!", "C!"]),
        (of_a_package, ["> AB!", "> C!"]),
        (a_coroutine_function, ["AB!", "C!"]),
        (a_method, ["AB!?", "C!?"]),
    ],
    ids=["lambda-over-a-module", "callable-object-of-a-package", "async-def", "method-of-an-instance"],
)
def test_a_predict_function_of_any_form_is_served_with_the_users_own_modules(
    admin: AdminProcess,
    project: str,
    ask: Callable[[str, list[str]], list[Any]],
    make: Callable[[str], Callable[[list[str]], Any]],
    answers: list[str],
) -> None:
    deploy_python_closure(
        admin.connection, project, 1, make(project), input_type="strings", sample=["warm"], partitions=1
    )
    assert ask(project, ["ab", "c"]) == answers


def sealed(name: str, folder: Path, model: Any, environment: Environment) -> Path:
    (folder / "func.pkl").write_bytes(capture(model).data)
    manifest = Manifest(
        name=name,
        version="2",
        framework="python-closure",
        entry_point="func.pkl",
        input_type=InputType.STRINGS,
        environment=environment,
    )
    seal(folder, manifest, SIGNING_KEY.encode())
    return folder


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        (Environment(python="3.8"), "python 3.8 wanted, "),
        (Environment(distributions={"no-such-distribution": "1.2.3"}), "no-such-distribution 1.2.3 wanted, none found"),
        (Environment(distributions={"numpy": "0.1"}), "numpy 0.1 wanted, "),
    ],
    ids=["another-python", "a-distribution-that-is-missing", "another-version-of-one"],
)
def test_an_environment_that_a_worker_cannot_give_is_named_and_the_old_version_goes_on(
    admin: AdminProcess, name: str, tmp_path: Path, environment: Environment, why: str
) -> None:
    admin.connection.register_model(name, 1, "strings")
    with pytest.raises(DeployError, match="failed to load it") as refused:
        admin.connection.deploy_model(name, 2, "strings", sealed(name, tmp_path, count, environment))
    assert f"this worker cannot give the model its environment: {why}" in str(refused.value.worker_traceback)
    assert str(refused.value).count(why) == 1, "said twice"
    assert admin.connection.get_current_model_version(name) == "1"
    assert admin.connection.get_all_models().count(f"{name}:2") == 0


class LoadsWhenTold:
    """Its unpickling waits for a file."""

    def __init__(self, go: str) -> None:
        self.go = go

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__ = state
        while not Path(self.go).exists():
            time.sleep(0.05)

    def __call__(self, inputs: list[str]) -> list[str]:
        return inputs


def test_a_deployment_whose_caller_has_gone_away_is_brought_to_its_end(
    admin: AdminProcess, name: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    (tmp_path / "artifact").mkdir()
    path = f"{admin.url}/api/v1/models/{name}/versions/2"
    folder = sealed(name, tmp_path / "artifact", LoadsWhenTold(str(go)), Environment())
    with zipped(folder) as packed:
        assert httpx.put(f"{path}/artifact", content=packed.read(), timeout=30).status_code == 201
    spec = {"name": name, "version": "2", "input_type": "strings", "partitions": 1}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{path}/deploy", json=spec, timeout=1)
    assert httpx.get(path, timeout=10).json()["is_current"] is False
    go.touch()
    wait_until(lambda: admin.connection.get_current_model_version(name) == "2", 30, "it is ready and current")
