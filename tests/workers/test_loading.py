"""An artifact is verified before anything in it is unpickled, and refused where its environment cannot be given."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest

from skysail.topics.artifacts import Environment, Manifest, seal
from skysail.topics.errors import ArtifactError, ModelError, SignatureError
from skysail.topics.specs import InputType, ModelSpec
from skysail.workers.loading import artifact_folder, load_model

SPEC = ModelSpec(name="m", version="1", framework="python-closure")
KEY = b"key"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def artifact(
    folder: Path,
    files: dict[str, Any],
    *,
    framework: str = "python-closure",
    entry_point: str = "func.pkl",
    environment: Environment | None = None,
    key: bytes | None = KEY,
) -> Manifest:
    for name, value in files.items():
        (folder / name).write_bytes(value if isinstance(value, bytes) else cloudpickle.dumps(value))
    manifest = Manifest(
        name="m",
        version="1",
        framework=framework,
        entry_point=entry_point,
        input_type=InputType.DOUBLES,
        environment=environment or Environment(python=HERE),
    )
    return seal(folder, manifest, key)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for an artifact, in an empty folder."""
    made = tmp_path / "artifact"
    made.mkdir()
    return made


def total(batch: Any) -> Any:
    return batch.sum(axis=1)


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


def test_a_function_is_loaded_and_predicts(folder: Path) -> None:
    artifact(folder, {"func.pkl": total})
    model = load_model(folder, SPEC, KEY)
    assert model.predict(np.ones((2, 3))).tolist() == [3.0, 3.0]
    model.close()


def test_the_folder_of_a_version_is_below_models() -> None:
    assert artifact_folder(Path("a"), SPEC) == Path("a/models/m/1")


def test_an_altered_file_is_refused_before_it_is_unpickled(folder: Path) -> None:
    artifact(folder, {"func.pkl": total})
    mark = folder.parent / "unpickled"
    (folder / "func.pkl").write_bytes(cloudpickle.dumps(Trap(mark)))
    with pytest.raises(ArtifactError, match=r"func\.pkl is not what the manifest says"):
        load_model(folder, SPEC, KEY)
    assert not mark.exists()


def test_the_trap_would_have_worked(folder: Path) -> None:
    mark = folder.parent / "unpickled"
    artifact(folder, {"func.pkl": Trap(mark)})
    with pytest.raises(ArtifactError, match="NoneType: expected a function"):
        load_model(folder, SPEC, KEY)
    assert mark.exists()


@pytest.mark.parametrize("key", [None, b"another key"])
def test_an_artifact_that_was_not_signed_with_the_key_is_refused_before_it_is_unpickled(
    folder: Path, key: bytes | None
) -> None:
    mark = folder.parent / "unpickled"
    artifact(folder, {"func.pkl": Trap(mark)}, key=key)
    with pytest.raises(SignatureError):
        load_model(folder, SPEC, KEY)
    assert not mark.exists()


def test_an_artifact_of_another_version_is_refused(folder: Path) -> None:
    artifact(folder, {"func.pkl": total})
    with pytest.raises(ArtifactError, match="is of m/1, not of m/2"):
        load_model(folder, ModelSpec(name="m", version="2"), KEY)


def test_an_artifact_that_is_not_the_registered_one_is_refused(folder: Path) -> None:
    manifest = artifact(folder, {"func.pkl": total})
    load_model(folder, ModelSpec(name="m", version="1", artifact_digest=manifest.digest), KEY)
    with pytest.raises(ArtifactError, match="not the one that was registered"):
        load_model(folder, ModelSpec(name="m", version="1", artifact_digest="0" * 64), KEY)


def test_an_entry_point_outside_the_artifact_is_refused(folder: Path) -> None:
    artifact(folder, {"func.pkl": total}, entry_point="../func.pkl")
    with pytest.raises(ArtifactError, match="which it does not hold"):
        load_model(folder, SPEC, KEY)


def test_a_framework_that_is_not_on_the_list_is_refused(folder: Path) -> None:
    artifact(folder, {"func.pkl": total}, framework="os")
    with pytest.raises(ArtifactError, match="no loader for framework 'os': expected one of python-closure, sklearn"):
        load_model(folder, SPEC, KEY)


def test_what_differs_in_the_environment_is_all_named(folder: Path) -> None:
    wanted = Environment(python="2.7", distributions={"numpy": "0.1", "no-such-thing": "1.0"})
    artifact(folder, {"func.pkl": total}, environment=wanted)
    with pytest.raises(ArtifactError) as caught:
        load_model(folder, SPEC, KEY)
    text = str(caught.value)
    assert f"python 2.7 wanted, {HERE} found" in text
    assert f"numpy 0.1 wanted, {metadata.version('numpy')} found" in text
    assert "no-such-thing 1.0 wanted, none found" in text


def test_an_equal_environment_is_accepted(folder: Path) -> None:
    artifact(
        folder,
        {"func.pkl": total},
        environment=Environment(HERE, {name: metadata.version(name) for name in ("numpy", "scikit-learn")}),
    )
    load_model(folder, SPEC, KEY)


# ---------------------------------------------------------------------------------------------------- functions


def loaded(folder: Path, function: Any) -> Any:
    artifact(folder, {"func.pkl": function})
    return load_model(folder, SPEC, KEY)


def test_an_async_function_keeps_its_event_loop_from_call_to_call(folder: Path) -> None:
    async def predict(batch: Any) -> Any:
        await asyncio.sleep(0)
        return [id(asyncio.get_running_loop()) for _ in batch]

    model = loaded(folder, predict)
    assert model.predict([1]) == model.predict([2])
    model.close()


def test_an_object_with_an_async_call_is_a_function_too(folder: Path) -> None:
    class Predict:
        async def __call__(self, batch: Any) -> Any:
            return list(batch)

    model = loaded(folder, Predict())
    assert model.predict([1]) == [1]
    model.close()


def test_a_function_that_exits_is_an_error_and_no_exit(folder: Path) -> None:
    def predict(_: Any) -> Any:
        sys.exit(7)

    with pytest.raises(ModelError, match=r"predict called sys\.exit\(7\)"):
        loaded(folder, predict).predict([1])


# ---------------------------------------------------------------------------------------------------- sklearn


@pytest.fixture(scope="module")
def estimator() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])


@pytest.mark.parametrize("with_joblib", [True, False])
def test_an_estimator_predicts_however_it_was_pickled(folder: Path, estimator: Any, with_joblib: bool) -> None:  # noqa: FBT001
    if with_joblib:
        joblib.dump(estimator, folder / "model.pkl")
    files = {} if with_joblib else {"model.pkl": estimator}
    artifact(folder, files, framework="sklearn", entry_point="model.pkl")
    model = load_model(folder, SPEC, KEY)
    assert model.predict(np.array([[0.0], [1.0]])).tolist() == [0, 1]


def test_a_function_beside_the_estimator_is_given_both(folder: Path, estimator: Any) -> None:
    def predict(model: Any, inputs: Any) -> Any:
        return model.predict_proba(inputs).shape

    artifact(folder, {"model.pkl": estimator, "func.pkl": predict}, framework="sklearn", entry_point="model.pkl")
    assert load_model(folder, SPEC, KEY).predict(np.array([[0.0]])) == (1, 2)


def test_what_cannot_predict_is_refused(folder: Path) -> None:
    artifact(folder, {"model.pkl": 5}, framework="sklearn", entry_point="model.pkl")
    with pytest.raises(ArtifactError, match="no function to call"):
        load_model(folder, SPEC, KEY)
