"""Commits the offsets of stored outcomes: now and then while working, at once before a partition goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

import structlog

from skysail.topics.broker import RecordConsumer, TopicPartition
from skysail.topics.errors import UnavailableError
from skysail.topics.records import ConsumedRecord
from skysail.workers.offsets import OffsetTracker

__all__ = ["Committer"]

_log = structlog.get_logger(__name__)


class Committer:
    """Commits in the background every `interval_s` while there is something to commit.

    Args:
        tracker: knows how far each partition is done.
        interval_s: least time between two commits, in seconds.
        clock: monotonic seconds.
    """

    def __init__(self, tracker: OffsetTracker, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tracker = tracker
        self._interval_s = interval_s
        self._clock = clock
        self._due_s = 0.0
        self._dirty = False

    def done(self, records: Iterable[ConsumedRecord]) -> None:
        """The outcomes of these records are stored."""
        done = self._tracker.done
        for record in records:
            done(record.topic, record.partition, record.offset)
        self._dirty = True

    def seconds_until_due(self) -> float | None:
        """Until the next commit; None when there is nothing to commit."""
        return max(0.0, self._due_s - self._clock()) if self._dirty else None

    def commit_if_due(self, consumer: RecordConsumer) -> None:
        """Commit in the background when it is time."""
        if not self._dirty or self._clock() < self._due_s:
            return
        offsets = self._tracker.committable()
        self._dirty = False
        self._due_s = self._clock() + self._interval_s
        if offsets:
            self._commit(consumer, offsets, wait=False)

    def commit_now(self, consumer: RecordConsumer) -> None:
        """Commit what is done and wait until that is stored."""
        offsets = self._tracker.committable()
        self._dirty = False
        if offsets:
            self._commit(consumer, offsets, wait=True)

    def _commit(self, consumer: RecordConsumer, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        try:
            consumer.commit(offsets, wait=wait)
        except UnavailableError as error:  # what is not committed is delivered again; nothing is lost
            self.failed(offsets, str(error))

    def failed(self, offsets: Mapping[TopicPartition, int], reason: str) -> None:
        """A commit was not stored: it is tried again with the next one."""
        _log.warning("commit_failed", partitions=len(offsets), error=reason)
        self._tracker.give_back(offsets)
        self._dirty = True

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are another member's now."""
        self._tracker.revoke(partitions)
