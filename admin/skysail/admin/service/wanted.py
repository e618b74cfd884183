"""What the broker and the manager should have, by what is registered: topics and workers."""

from __future__ import annotations

from skysail.topics.names import TopicNames, dead_letter_topic
from skysail.topics.specs import ApplicationSpec, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["app_topics", "has_artifact", "managed_versions", "topics_of", "version_topics"]


def has_artifact(spec: ModelSpec) -> bool:
    """Whether a version's workers can be started here: there is an artifact for them to load."""
    return bool(spec.framework)


def app_topics(names: TopicNames, app: ApplicationSpec) -> dict[str, int]:
    """Topics of an application, with their partitions: its feedback."""
    return {names.feedback(app.name): 1}


def version_topics(names: TopicNames, spec: ModelSpec) -> dict[str, int]:
    """Topics of a version, with their partitions: the model's and its own, and the dead letters of both."""
    shared, own = names.model(spec.name), names.version(spec.name, spec.version)
    counts = {shared: spec.partitions, own: spec.partitions}
    return {**counts, **{dead_letter_topic(topic): 1 for topic in counts}}


def topics_of(names: TopicNames, snapshot: RegistrySnapshot) -> dict[str, int]:
    """All topics, with their partitions."""
    topics: dict[str, int] = {}
    for app in snapshot.apps.values():
        topics |= app_topics(names, app)
    for versions in snapshot.models.values():
        for spec in versions.values():
            # The model's topic was made with its first version's partitions; that count stays.
            topics = {**version_topics(names, spec), **topics}
    return topics


def managed_versions(snapshot: RegistrySnapshot) -> list[ModelSpec]:
    """Versions whose workers a manager keeps running."""
    specs = (spec for versions in snapshot.models.values() for spec in versions.values())
    return [spec for spec in specs if spec.replicas and has_artifact(spec)]
