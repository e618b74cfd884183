"""Names on the wire: Kafka topics, consumer groups and Redis keys, and the rule that user-given names follow.

Topics are ``skysail.<namespace>.models.<model>[.<version>].queries``; names hold no dots, so a topic's parts are
unambiguous. Redis keys share the prefix ``skysail:<namespace>:``.
"""

from __future__ import annotations

import re

import msgspec

from skysail.topics.errors import InvalidNameError

__all__ = ["NAME_PATTERN", "KeyNames", "TopicNames", "check_name", "dead_letter_topic"]

#: DNS-1123 label, as in Clipper 0.3 and Kubernetes.
NAME_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(NAME_PATTERN)
_MAX_NAME_LENGTH = 63


def check_name(kind: str, name: str) -> str:
    """Return `name` when it is a DNS-1123 label of at most 63 characters.

    Raises:
        InvalidNameError: naming the kind, the name and the rule.
    """
    if len(name) > _MAX_NAME_LENGTH or _NAME.fullmatch(name) is None:
        rule = f"at most {_MAX_NAME_LENGTH} of a-z, 0-9 and '-', beginning and ending with a letter or digit"
        message = f"{kind} {name!r} is not valid: expected {rule}"
        raise InvalidNameError(message)
    return name


def dead_letter_topic(topic: str) -> str:
    """The topic that records of `topic` go to when they can be neither decoded nor computed."""
    return f"{topic}-dlt"


class TopicNames(msgspec.Struct, frozen=True):
    """Kafka names of one namespace."""

    namespace: str = "default"

    def model(self, model: str) -> str:
        """The model's own topic: any producer sends here and the current version answers."""
        return f"skysail.{self.namespace}.models.{model}.queries"

    def version(self, model: str, version: str) -> str:
        """One version's topic: frontends that resolved the version send here."""
        return f"skysail.{self.namespace}.models.{model}.{version}.queries"

    def feedback(self, app: str) -> str:
        """Feedback that came in for an application."""
        return f"skysail.{self.namespace}.apps.{app}.feedback"

    def model_group(self, model: str) -> str:
        """The consumer group that reads the model's topic: the workers of whichever version is current."""
        return f"skysail.{self.namespace}.{model}"

    def version_group(self, model: str, version: str) -> str:
        """The consumer group that reads a version's topic: the workers of that version."""
        return f"skysail.{self.namespace}.{model}.{version}"


class KeyNames(msgspec.Struct, frozen=True):
    """Redis keys of one namespace."""

    namespace: str = "default"

    def _key(self, *parts: str) -> str:
        return ":".join(("skysail", self.namespace, *parts))

    def replies(self, client_id: str) -> str:
        """Stream of reply batches for one client."""
        return self._key("replies", client_id)

    def cache_prefix(self, model: str, version: str) -> str:
        """Prefix of cached answers of one version; the input's digest follows."""
        return self._key("cache", model, version, "")

    def job(self, query_id: str) -> str:
        """Stored outcome of a query that nobody waits for."""
        return self._key("jobs", query_id)

    def replayed(self, topic: str) -> str:
        """Hash ``partition/offset`` → unix ms at which that letter of a dead-letter topic was sent once more."""
        return self._key("replayed", topic)

    def suspects(self, model: str) -> str:
        """Hash ``topic/partition/offset`` → evidence of the crashes during which that record was running."""
        return self._key("suspects", model)

    def worker(self, worker_id: str) -> str:
        """Heartbeat of one worker, with a time to live."""
        return self._key("workers", worker_id)

    @property
    def workers(self) -> str:
        """Sorted set of worker ids by the unix ms of their last heartbeat."""
        return self._key("workers")

    @property
    def apps(self) -> str:
        """Hash app name → ApplicationSpec."""
        return self._key("apps")

    @property
    def models(self) -> str:
        """Hash ``model/version`` → ModelSpec."""
        return self._key("models")

    @property
    def links(self) -> str:
        """Hash app name → Link."""
        return self._key("links")

    @property
    def current(self) -> str:
        """Hash model → its current version."""
        return self._key("current")

    @property
    def changes(self) -> str:
        """Stream of registry changes that every process follows."""
        return self._key("changes")

    @property
    def epoch(self) -> str:
        """Exists while the registry is whole; absent after the store lost its data."""
        return self._key("epoch")
