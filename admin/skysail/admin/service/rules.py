"""Rules of the registry, as pure checks on a picture of it. Most are Clipper's."""

from __future__ import annotations

from skysail.topics.errors import BadInputError, ConflictError, NotFoundError
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["check_deletable", "check_link", "check_model", "find_app", "find_model"]


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


def check_model(snapshot: RegistrySnapshot, spec: ModelSpec) -> None:
    """Whether a version may be registered.

    Raises:
        ConflictError: when it exists.
        BadInputError: when its input type is not that of an application linked to the model.
    """
    if spec.version in snapshot.models.get(spec.name, {}):
        message = f"model {spec.name!r} has a version {spec.version!r} already; versions are immutable"
        raise ConflictError(message)
    for link in snapshot.links.values():
        app = snapshot.apps.get(link.app)
        if spec.name in link.models and app is not None and app.input_type is not spec.input_type:
            message = (
                f"model {spec.name!r} is linked to application {app.name!r}, which takes {app.input_type}; "
                f"version {spec.version!r} takes {spec.input_type}"
            )
            raise BadInputError(message)


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


def check_deletable(snapshot: RegistrySnapshot, name: str, version: str) -> None:
    """Whether a version may be deleted. Raises NotFoundError, ConflictError for the current one."""
    find_model(snapshot, name, version)
    if snapshot.current.get(name) == version and len(snapshot.models[name]) > 1:
        message = f"version {version!r} of model {name!r} is current: promote another first"
        raise ConflictError(message)
