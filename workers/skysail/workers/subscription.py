"""Which topics a worker reads: its version's always, the model's own while its version is current."""

from __future__ import annotations

from skysail.topics.names import TopicNames
from skysail.topics.specs import ModelSpec

__all__ = ["Subscription"]


class Subscription:
    """The topics wanted now. `set_current` may be called on any thread; `changed` is the loop's.

    Args:
        topics: names of the namespace.
        spec: of the worker's version.
    """

    def __init__(self, topics: TopicNames, spec: ModelSpec) -> None:
        self._version = spec.version
        self._own = topics.version(spec.name, spec.version)
        self._shared = topics.model(spec.name)
        self._current = False
        self._subscribed: bool | None = None

    @property
    def version_topic(self) -> str:
        """The version's own topic."""
        return self._own

    def set_current(self, version: str | None) -> None:
        """The model's current version is now this one."""
        self._current = version == self._version

    def changed(self) -> list[str] | None:
        """The topics to subscribe to, when they are others than at the last call; else None."""
        current = self._current
        if current == self._subscribed:
            return None
        self._subscribed = current
        return [self._own, self._shared] if current else [self._own]
