"""Rules of the registry, as pure checks on a picture of it. Most are Clipper's."""

from __future__ import annotations

from collections.abc import Sequence

from skysail.admin.service.wanted import has_artifact
from skysail.topics.artifacts import Manifest
from skysail.topics.errors import BadInputError, ConflictError, NotFoundError
from skysail.topics.specs import ApplicationSpec, InputType, Link, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = [
    "check_artifact",
    "check_deletable",
    "check_link",
    "check_linked",
    "check_new",
    "check_promotable",
    "check_scalable",
    "find_app",
    "find_model",
    "version_before",
]


def find_app(snapshot: RegistrySnapshot, name: str) -> ApplicationSpec:
    """An application. Raises NotFoundError."""
    app = snapshot.apps.get(name)
    if app is None:
        message = f"no application is named {name!r}"
        raise NotFoundError(message)
    return app


def find_model(snapshot: RegistrySnapshot, name: str, version: str) -> ModelSpec:
    """A version of a model. Raises NotFoundError, which tells an unknown model from an unknown version."""
    versions = snapshot.models.get(name)
    if versions is None:
        message = f"no model is named {name!r}"
        raise NotFoundError(message)
    if version not in versions:
        message = f"model {name!r} has no version {version!r}; it has {', '.join(sorted(versions))}"
        raise NotFoundError(message)
    return versions[version]


def check_new(snapshot: RegistrySnapshot, name: str, version: str, input_type: InputType | None = None) -> None:
    """Whether a version may be registered.

    Raises:
        ConflictError: when it exists.
        BadInputError: when its input type is not that of an application linked to the model.
    """
    if version in snapshot.models.get(name, {}):
        message = f"model {name!r} has a version {version!r} already; versions are immutable"
        raise ConflictError(message)
    for link in snapshot.links.values():
        app = snapshot.apps.get(link.app)
        if name in link.models and app is not None and input_type not in (None, app.input_type):
            message = (
                f"model {name!r} is linked to application {app.name!r}, which takes {app.input_type}; "
                f"version {version!r} takes {input_type}"
            )
            raise BadInputError(message)


def check_artifact(spec: ModelSpec, manifest: Manifest) -> None:
    """Whether a specification is of the artifact that is stored.

    Raises:
        BadInputError: when it takes other inputs.
        ConflictError: when it names another artifact: somebody else's upload of the same version came between.
    """
    if manifest.input_type is not spec.input_type:
        message = f"the artifact of {spec.key} takes {manifest.input_type}, the specification says {spec.input_type}"
        raise BadInputError(message)
    if spec.artifact_digest not in ("", manifest.digest):
        message = f"another artifact of {spec.key} has been uploaded meanwhile"
        raise ConflictError(message)


def check_promotable(spec: ModelSpec) -> None:
    """Whether a version could ever be ready. Raises BadInputError for one with no workers."""
    if not spec.replicas:
        message = f"{spec.key} cannot be promoted with 0 workers: it would never be ready"
        raise BadInputError(message)


def check_scalable(spec: ModelSpec, replicas: int) -> None:
    """Whether so many workers can be started here. Raises ConflictError for a version without an artifact."""
    if replicas and not has_artifact(spec):
        message = f"{spec.key} has no artifact: its workers are yours to run"
        raise ConflictError(message)


def check_link(snapshot: RegistrySnapshot, app_name: str, models: list[str]) -> Link:
    """The link that joins an application to a model.

    Raises:
        NotFoundError: when the application or the model does not exist.
        BadInputError: for more or fewer than one model, or one of another input type.
        ConflictError: when the application is linked already.
    """
    app = find_app(snapshot, app_name)
    if len(models) != 1:
        message = f"an application is linked to exactly one model, got {len(models)}: {models}"
        raise BadInputError(message)
    linked = snapshot.links.get(app_name)
    if linked is not None:
        message = f"application {app_name!r} is linked to {', '.join(linked.models)} already; unlink it first"
        raise ConflictError(message)
    versions = snapshot.models.get(models[0])
    if not versions:
        message = f"no model is named {models[0]!r}"
        raise NotFoundError(message)
    for spec in versions.values():
        if spec.input_type is not app.input_type:
            message = (
                f"model {spec.name!r} version {spec.version!r} takes {spec.input_type}, "
                f"application {app_name!r} takes {app.input_type}"
            )
            raise BadInputError(message)
    return Link(app=app_name, models=tuple(models))


def check_linked(snapshot: RegistrySnapshot, app: str, models: Sequence[str] | None) -> None:
    """Whether an application is linked to all these models (to any, where none is named). Raises NotFoundError."""
    find_app(snapshot, app)
    link = snapshot.links.get(app)
    linked = link.models if link is not None else ()
    missing = [model for model in models or () if model not in linked]
    if missing or not linked:
        message = f"application {app!r} is not linked to {', '.join(missing) or 'a model'}"
        raise NotFoundError(message)


def check_deletable(snapshot: RegistrySnapshot, name: str, version: str, *, even_current: bool = False) -> None:
    """Whether a version may be deleted.

    Raises:
        NotFoundError: when there is no such version.
        ConflictError: for the current one while there are others, unless `even_current`.
    """
    find_model(snapshot, name, version)
    if snapshot.current.get(name) == version and len(snapshot.models[name]) > 1 and not even_current:
        message = f"version {version!r} of model {name!r} is current: promote another first"
        raise ConflictError(message)


def version_before(snapshot: RegistrySnapshot, name: str, history: Sequence[str]) -> str:
    """The version that was current before the one that is; `history` has the newest last.

    Raises:
        NotFoundError: when there is no such model.
        ConflictError: when no earlier version is left.
    """
    if name not in snapshot.models:
        message = f"no model is named {name!r}"
        raise NotFoundError(message)
    left = [one for one in history if one in snapshot.models[name] and one != snapshot.current.get(name)]
    if not left:
        message = f"model {name!r} has no earlier version to go back to"
        raise ConflictError(message)
    return left[-1]
