from __future__ import annotations

import pytest

from skysail.admin.service.rules import (
    check_artifact,
    check_deletable,
    check_link,
    check_linked,
    check_new,
    check_promotable,
    check_scalable,
    find_app,
    find_model,
    version_before,
)
from skysail.topics.artifacts import Manifest
from skysail.topics.errors import BadInputError, ConflictError, NotFoundError
from skysail.topics.specs import ApplicationSpec, InputType, Link, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot


def model(name: str, version: str, input_type: InputType = InputType.DOUBLES) -> ModelSpec:
    return ModelSpec(name=name, version=version, input_type=input_type)


def registered(*specs: ApplicationSpec | ModelSpec | Link, current: dict[str, str] | None = None) -> RegistrySnapshot:
    models: dict[str, dict[str, ModelSpec]] = {}
    for spec in specs:
        if isinstance(spec, ModelSpec):
            models.setdefault(spec.name, {})[spec.version] = spec
    return RegistrySnapshot(
        apps={spec.name: spec for spec in specs if isinstance(spec, ApplicationSpec)},
        models=models,
        links={spec.app: spec for spec in specs if isinstance(spec, Link)},
        current=current or {},
        whole=True,
    )


APP = ApplicationSpec(name="app")
NOTHING = registered()


def test_an_unknown_application_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no application is named 'other'"):
        find_app(registered(APP), "other")


def test_an_unknown_version_is_told_from_an_unknown_model_and_the_known_ones_are_named() -> None:
    snapshot = registered(model("m", "2"), model("m", "1"))
    with pytest.raises(NotFoundError, match="no model is named 'n'"):
        find_model(snapshot, "n", "1")
    with pytest.raises(NotFoundError, match="model 'm' has no version '3'; it has 1, 2"):
        find_model(snapshot, "m", "3")
    assert find_model(snapshot, "m", "2").key == "m/2"


def test_a_version_is_immutable() -> None:
    with pytest.raises(ConflictError, match="versions are immutable"):
        check_new(registered(model("m", "1")), "m", "1")
    check_new(registered(model("m", "1")), "m", "2")


def test_a_new_version_takes_what_the_linked_application_takes() -> None:
    snapshot = registered(APP, model("m", "1"), Link(app="app", models=("m",)))
    check_new(snapshot, "m", "2", InputType.DOUBLES)
    check_new(snapshot, "n", "1", InputType.STRINGS)
    with pytest.raises(BadInputError, match="linked to application 'app', which takes doubles; version '2' takes str"):
        check_new(snapshot, "m", "2", InputType.STRINGS)


def test_a_specification_is_of_the_artifact_that_is_stored() -> None:
    manifest = Manifest(
        name="m", version="1", framework="sklearn", entry_point="model.pkl", input_type=InputType.DOUBLES
    )
    check_artifact(model("m", "1"), manifest)
    check_artifact(ModelSpec(name="m", version="1", artifact_digest=manifest.digest), manifest)
    with pytest.raises(ConflictError, match="another artifact of m/1 has been uploaded"):
        check_artifact(ModelSpec(name="m", version="1", artifact_digest="0" * 64), manifest)
    with pytest.raises(BadInputError, match="takes doubles, the specification says strings"):
        check_artifact(model("m", "1", InputType.STRINGS), manifest)


def test_a_version_without_workers_cannot_be_promoted_with_its_deployment() -> None:
    check_promotable(ModelSpec(name="m", version="1", replicas=1))
    with pytest.raises(BadInputError, match="it would never be ready"):
        check_promotable(ModelSpec(name="m", version="1", replicas=0))


def test_workers_of_a_version_without_an_artifact_cannot_be_started_only_stopped() -> None:
    check_scalable(ModelSpec(name="m", version="1", framework="sklearn"), 3)
    check_scalable(model("m", "1"), 0)
    with pytest.raises(ConflictError, match="its workers are yours to run"):
        check_scalable(model("m", "1"), 1)


def test_an_application_is_linked_to_a_model_of_its_input_type() -> None:
    snapshot = registered(APP, model("m", "1"), model("m", "2"))
    assert check_link(snapshot, "app", ["m"]) == Link(app="app", models=("m",))


@pytest.mark.parametrize("models", [[], ["m", "n"]])
def test_an_application_is_linked_to_exactly_one_model(models: list[str]) -> None:
    with pytest.raises(BadInputError, match=f"exactly one model, got {len(models)}"):
        check_link(registered(APP, model("m", "1"), model("n", "1")), "app", models)


def test_an_application_has_one_link() -> None:
    snapshot = registered(APP, model("m", "1"), model("n", "1"), Link(app="app", models=("m",)))
    with pytest.raises(ConflictError, match="linked to m already"):
        check_link(snapshot, "app", ["n"])


def test_a_link_needs_an_application_and_a_model() -> None:
    with pytest.raises(NotFoundError, match="no application"):
        check_link(registered(model("m", "1")), "app", ["m"])
    with pytest.raises(NotFoundError, match="no model"):
        check_link(registered(APP), "app", ["m"])


def test_one_version_of_another_input_type_refuses_the_link() -> None:
    snapshot = registered(APP, model("m", "1"), model("m", "2", InputType.STRINGS))
    with pytest.raises(BadInputError, match="version '2' takes strings, application 'app' takes doubles"):
        check_link(snapshot, "app", ["m"])


def test_a_link_that_is_not_there_cannot_be_removed() -> None:
    linked = registered(APP, Link(app="app", models=("m",)))
    check_linked(linked, "app", ["m"])
    check_linked(linked, "app", None)
    with pytest.raises(NotFoundError, match="'app' is not linked to n"):
        check_linked(linked, "app", ["m", "n"])
    with pytest.raises(NotFoundError, match="'app' is not linked to a model"):
        check_linked(registered(APP), "app", None)
    with pytest.raises(NotFoundError, match="no application"):
        check_linked(NOTHING, "app", ["m"])


def test_the_current_version_is_not_deleted_while_there_are_others() -> None:
    snapshot = registered(model("m", "1"), model("m", "2"), current={"m": "2"})
    check_deletable(snapshot, "m", "1")
    check_deletable(snapshot, "m", "2", even_current=True)
    check_deletable(registered(model("m", "1"), current={"m": "1"}), "m", "1")
    with pytest.raises(ConflictError, match="promote another first"):
        check_deletable(snapshot, "m", "2")
    with pytest.raises(NotFoundError, match="no model"):
        check_deletable(NOTHING, "m", "1")


def test_rollback_goes_to_the_newest_earlier_version_that_is_left() -> None:
    snapshot = registered(model("m", "1"), model("m", "3"), current={"m": "3"})
    assert version_before(snapshot, "m", ["1", "2", "3"]) == "1"
    assert version_before(registered(model("m", "1"), model("m", "2")), "m", ["1", "2"]) == "2"


def test_rollback_needs_an_earlier_version() -> None:
    with pytest.raises(ConflictError, match="no earlier version"):
        version_before(registered(model("m", "1"), current={"m": "1"}), "m", ["0", "1"])
    with pytest.raises(NotFoundError, match="no model"):
        version_before(NOTHING, "m", [])
