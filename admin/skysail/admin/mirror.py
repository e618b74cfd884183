"""The registry's mirror on disk: everything registered, in one file, for a store that has lost it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skysail.topics.errors import ArtifactError
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["Mirror", "MirrorFile"]

#: Versions that were current, remembered for each model.
_HISTORY = 50


class Mirror(msgspec.Struct, frozen=True):
    """A registry on disk.

    Attributes:
        history: by model, the versions that were current, the newest last and each once.
        change_id: last change that it holds: an older registry has lost something, a newer one is ahead of it.
    """

    apps: tuple[ApplicationSpec, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    links: tuple[Link, ...] = ()
    current: dict[str, str] = {}
    history: dict[str, list[str]] = {}
    change_id: str = "0-0"

    @property
    def is_empty(self) -> bool:
        """Whether nothing is registered."""
        return not (self.apps or self.models)

    def snapshot(self) -> RegistrySnapshot:
        """As the registry's own picture."""
        models: dict[str, dict[str, ModelSpec]] = {}
        for spec in self.models:
            models.setdefault(spec.name, {})[spec.version] = spec
        return RegistrySnapshot(
            apps={app.name: app for app in self.apps},
            models=models,
            links={link.app: link for link in self.links},
            current=self.current,
            whole=True,
        )

    def updated(self, snapshot: RegistrySnapshot) -> Mirror:
        """The mirror of a newer picture; a version that is current there becomes the newest of its model's history."""
        return Mirror(
            apps=tuple(snapshot.apps.values()),
            models=tuple(spec for versions in snapshot.models.values() for spec in versions.values()),
            links=tuple(snapshot.links.values()),
            current=snapshot.current,
            history=_history(self.history, snapshot),
            change_id=snapshot.change_id,
        )

    def is_newer_than(self, snapshot: RegistrySnapshot) -> bool:
        """Whether it holds changes that the registry has lost."""
        return _order(self.change_id) > _order(snapshot.change_id)


def _history(known: dict[str, list[str]], snapshot: RegistrySnapshot) -> dict[str, list[str]]:
    history = {}
    for name, versions in snapshot.models.items():
        current = snapshot.current.get(name)
        earlier = [version for version in known.get(name, ()) if version in versions and version != current]
        history[name] = [*earlier, *([current] if current is not None else [])][-_HISTORY:]
    return history


def _order(change_id: str) -> tuple[int, int]:
    """Ids of stream entries are ``<unix ms>-<number>``."""
    ms, _, number = change_id.partition("-")
    return int(ms), int(number or 0)


class MirrorFile:
    """``<artifacts path>/registry/<namespace>.json``. Blocking: call it in a thread."""

    def __init__(self, artifacts: Path, namespace: str) -> None:
        self.path = artifacts / "registry" / f"{namespace}.json"

    def load(self) -> Mirror:
        """What was registered when the mirror was last written; empty when it never was.

        Raises:
            ArtifactError: when the file cannot be read; it is never replaced by an empty one.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Mirror)
        except FileNotFoundError:
            return Mirror()
        except (OSError, msgspec.DecodeError) as error:
            message = f"the registry's mirror {self.path} cannot be read: {error}"
            raise ArtifactError(message) from error

    def save(self, mirror: Mirror) -> None:
        """Write the mirror, in one step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(mirror, order="sorted")))
        fresh.replace(self.path)
