"""Follows which partitions the worker has, and lets go of them in good order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from skysail.topics.broker import RecordConsumer, TopicPartition
from skysail.workers.commits import Committer
from skysail.workers.intake import Intake
from skysail.workers.stats import WorkerStats

__all__ = ["Assignment"]

_log = structlog.get_logger(__name__)


class Assignment:
    """A `RebalanceListener`. It is called on the thread that owns the consumer: the loop's or the keeper's.

    Args:
        version_topic: whose partitions the heartbeat names.
        intake, committer: told of partitions that go.
        stats: holds the partitions for the heartbeat.
        on_gained: called when there are new partitions.
        on_settled: called after each assignment, also an empty one (all partitions are taken by others).
    """

    def __init__(
        self,
        version_topic: str,
        intake: Intake,
        committer: Committer,
        stats: WorkerStats,
        *,
        on_gained: Callable[[], None],
        on_settled: Callable[[], None],
    ) -> None:
        self._version_topic = version_topic
        self._intake = intake
        self._committer = committer
        self._stats = stats
        self._on_gained = on_gained
        self._on_settled = on_settled
        #: Set before it subscribes.
        self.consumer: RecordConsumer | None = None

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """New partitions."""
        gained = set(partitions)
        self._intake.assigned |= gained
        if gained:
            self._on_gained()
        self._note("partitions_assigned", gained)
        self._on_settled()

    def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:
        """Partitions that go: what is queued of them is dropped, what is done is committed before."""
        gone = set(partitions)
        self._intake.drop(gone)
        if not lost and self.consumer is not None:
            self._committer.commit_now(self.consumer)
        self._committer.forget(gone)
        self._intake.assigned -= gone
        self._note("partitions_lost" if lost else "partitions_revoked", gone)

    def _note(self, event: str, partitions: set[TopicPartition]) -> None:
        own = sorted(partition for topic, partition in self._intake.assigned if topic == self._version_topic)
        self._stats.partitions = tuple(own)
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(partitions):
            by_topic.setdefault(topic, []).append(partition)
        _log.info(event, partitions=by_topic)
