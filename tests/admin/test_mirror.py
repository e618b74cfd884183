from __future__ import annotations

from pathlib import Path

import pytest

from skysail.admin.mirror import Mirror, MirrorFile
from skysail.topics.errors import ArtifactError
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

SNAPSHOT = RegistrySnapshot(
    apps={"app": ApplicationSpec(name="app", default_output={"x": [1, None]}, has_default=True)},
    models={"m": {version: ModelSpec(name="m", version=version, sample=[[1.5]]) for version in ("1", "2", "3")}},
    links={"app": Link(app="app", models=("m",))},
    current={"m": "2"},
    change_id="1700000000000-3",
    whole=True,
)


def moved(current: str | None, *versions: str) -> RegistrySnapshot:
    return RegistrySnapshot(
        models={"m": {version: ModelSpec(name="m", version=version) for version in versions}},
        current={"m": current} if current is not None else {},
    )


def test_a_mirror_gives_the_whole_registry_back(tmp_path: Path) -> None:
    file = MirrorFile(tmp_path, "ns")
    file.save(Mirror().updated(SNAPSHOT))
    given = file.load().snapshot()
    assert (given.apps, given.models, given.links, given.current, given.whole) == (
        SNAPSHOT.apps,
        SNAPSHOT.models,
        SNAPSHOT.links,
        SNAPSHOT.current,
        True,
    )


def test_each_namespace_has_a_mirror_of_its_own(tmp_path: Path) -> None:
    MirrorFile(tmp_path, "a").save(Mirror().updated(SNAPSHOT))
    assert MirrorFile(tmp_path, "b").load().is_empty
    assert not MirrorFile(tmp_path, "a").load().is_empty


def test_a_mirror_that_cannot_be_read_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    file = MirrorFile(tmp_path, "ns")
    file.save(Mirror())
    file.path.write_bytes(b'{"apps": 3}')
    with pytest.raises(ArtifactError, match=r"mirror .*ns\.json cannot be read"):
        file.load()
    assert file.path.read_bytes() == b'{"apps": 3}'


def test_the_history_holds_each_version_once_and_the_current_one_last() -> None:
    mirror = Mirror()
    for version in ("1", "2", "1", "3"):
        mirror = mirror.updated(moved(version, "1", "2", "3"))
    assert mirror.history == {"m": ["2", "1", "3"]}


def test_the_history_forgets_versions_and_models_that_are_gone() -> None:
    mirror = Mirror(history={"m": ["1", "2", "3"], "gone": ["1"]}).updated(moved("3", "1", "3"))
    assert mirror.history == {"m": ["1", "3"]}


def test_a_model_without_a_current_version_keeps_its_history() -> None:
    mirror = Mirror(history={"m": ["1", "2"]}).updated(moved(None, "1", "2"))
    assert mirror.history == {"m": ["1", "2"]}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1700000000000-0", "1700000000000-1"),
        ("1700000000000-9", "1700000000000-10"),
        ("1700000000000-5", "1700000000001-0"),
        ("999-0", "1000-0"),
    ],
)
def test_change_ids_are_ordered_as_numbers(older: str, newer: str) -> None:
    assert Mirror(change_id=newer).is_newer_than(RegistrySnapshot(change_id=older))
    assert not Mirror(change_id=older).is_newer_than(RegistrySnapshot(change_id=newer))
    assert not Mirror(change_id=older).is_newer_than(RegistrySnapshot(change_id=older))
