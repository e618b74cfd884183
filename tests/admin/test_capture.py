"""What travels with a function: the user's own modules by value, and nothing that is installed."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest

from skysail.admin.deployers.capture import Captured, capture, round_trip
from skysail.topics.errors import ArtifactError

MakeModule = Callable[[str, str], ModuleType]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[MakeModule]:
    """`module(name, source)`: a module of the user's own, outside of everything that is installed."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(suffix: str, source: str) -> ModuleType:
        full = f"{name}_{suffix}"
        (tmp_path / f"{full}.py").write_text(textwrap.dedent(source).replace("NAME", name))
        importlib.invalidate_caches()
        made.append(full)
        return importlib.import_module(full)

    yield make
    for full in made:
        sys.modules.pop(full, None)


def elsewhere(captured: Captured, argument: object) -> Any:
    """Load a pickle in another process, without the user's modules on its path, and call what was in it."""
    script = (
        "import json, pickle, sys; f = pickle.load(sys.stdin.buffer); print(json.dumps(f(json.loads(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(argument)],
        input=captured.data,
        capture_output=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_function_travels_with_its_closure_and_globals() -> None:
    factor = 3

    def predict(inputs: list[int]) -> list[int]:
        return [factor * value for value in inputs]

    assert elsewhere(capture(predict), [1, 2]) == [3, 6]


def test_a_module_of_the_users_own_travels_by_value(module: MakeModule) -> None:
    own = module("features", "SCALE = 10\ndef scale(value):\n    return SCALE * value\n")

    def predict(inputs: list[int]) -> list[int]:
        return [own.scale(value) for value in inputs]

    assert elsewhere(capture(predict), [1, 2]) == [10, 20]


def test_modules_that_those_modules_use_travel_too(module: MakeModule) -> None:
    module("constants", "SCALE = 7\nclass Scaler:\n    def __call__(self, value):\n        return SCALE * value\n")
    own = module("features", "import NAME_constants\nfrom NAME_constants import Scaler\nscale = Scaler()\n")
    assert elsewhere(capture(own.scale), 2) == 14

    def predict(inputs: list[int]) -> list[int]:
        return [own.scale(value) for value in inputs]

    assert elsewhere(capture(predict), [1]) == [7]


def test_nothing_stays_registered_by_value_afterwards(module: MakeModule) -> None:
    own = module("features", "def predict(inputs):\n    return inputs\n")
    before = set(cloudpickle.list_registry_pickle_by_value())
    capture(own.predict)
    assert set(cloudpickle.list_registry_pickle_by_value()) == before


def test_what_somebody_registered_by_value_before_stays_so(module: MakeModule) -> None:
    own = module("features", "def predict(inputs):\n    return inputs\n")
    cloudpickle.register_pickle_by_value(own)
    try:
        capture(own.predict)
        assert own.__name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(own)


def test_installed_modules_are_named_not_copied() -> None:
    def predict(inputs: Any) -> Any:
        return np.asarray(inputs).sum(axis=1).tolist()

    captured = capture(predict)
    assert len(captured.data) < 2000
    assert "numpy" in captured.modules
    assert elsewhere(captured, [[1, 2], [3, 4]]) == [3, 7]


def test_an_import_inside_of_a_function_is_noted() -> None:
    def predict(inputs: list[str]) -> list[str]:
        import msgspec.json

        return [msgspec.json.encode(text).decode() for text in inputs]

    assert "msgspec.json" in capture(predict).modules


def test_a_string_that_is_a_modules_name_is_no_import() -> None:
    def predict(inputs: list[str]) -> list[str]:
        return ["fastapi" for _ in inputs]

    assert "fastapi" not in capture(predict).modules


def test_an_import_of_an_own_module_inside_of_a_function_is_warned_of(module: MakeModule) -> None:
    module("inner", "")
    own = module("features", "def predict(inputs):\n    import NAME_inner\n    return inputs\n")
    with pytest.warns(UserWarning, match=r"predict imports \w+_inner inside of a function"):
        capture(own.predict)


def test_what_cannot_be_pickled_is_named_by_the_path_to_it() -> None:
    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    class Model:
        def __init__(self) -> None:
            self.client = Client()

    model = Model()

    def predict(inputs: list[str]) -> list[str]:
        return [str(model) for _ in inputs]

    with pytest.raises(ArtifactError, match=r"predict cannot be pickled: .*\(because of model\.client\.lock, a lock\)"):
        capture(predict)


def test_a_model_that_cannot_be_pickled_is_named_by_its_attribute() -> None:
    class Model:
        def __init__(self) -> None:
            self.stream = threading.Event()

    with pytest.raises(ArtifactError, match=r"because of stream\._cond"):
        capture(Model())


@pytest.mark.parametrize(
    ("source", "blamed"),
    [
        ("import threading\nLOCK = threading.Lock()\n", r"own\.LOCK, a lock"),
        ("import threading\nclass Model:\n    lock = threading.Lock()\n", r"own\.Model\.lock, a lock"),
    ],
    ids=["of-a-module", "of-a-class"],
)
def test_what_an_own_module_holds_is_named_by_the_path_to_it(module: MakeModule, source: str, blamed: str) -> None:
    own = module("features", source)

    def predict(inputs: list[str]) -> list[str]:
        return [str(own) for _ in inputs]  # in code inside of the function's own

    with pytest.raises(ArtifactError, match=rf"because of {blamed}"):
        capture(predict)


def test_an_instance_is_not_to_blame_for_its_class() -> None:
    class Model:
        lock = threading.Lock()

        def predict(self, inputs: list[str]) -> list[str]:
            return inputs

    with pytest.raises(ArtifactError, match=r"because of self\.\S+Model\.lock, a lock"):
        capture(Model().predict)


def test_functions_with_a_cache_travel_without_what_is_in_it(module: MakeModule) -> None:
    own = module(
        "features",
        """
        import functools

        @functools.lru_cache(maxsize=7, typed=True)
        def double(value):
            return 2 * value

        class Scaler:
            @functools.cached_property
            def factor(self):
                return 5

            @functools.cache
            def scaled(self, value):
                return self.factor * value
        """,
    )

    @functools.cache
    def seven() -> int:
        return 7

    assert own.double(1) == 2

    def predict(inputs: list[int]) -> list[object]:
        limits = own.double.cache_parameters()
        before = own.double.cache_info().currsize
        values = [own.Scaler().scaled(own.double(value)) + seven() for value in inputs]
        return [limits, before, own.double.__name__, *values]

    assert elsewhere(capture(predict), [1, 2]) == [{"maxsize": 7, "typed": True}, 0, "double", 17, 27]


def test_an_installed_function_with_a_cache_is_named_not_copied() -> None:
    captured = capture(importlib.import_module("fnmatch")._compile_pattern)
    assert "fnmatch" in captured.modules
    assert len(captured.data) < 100


def test_a_round_trip_gives_what_a_worker_will_get() -> None:
    assert round_trip(capture(len))([1, 2]) == 2
