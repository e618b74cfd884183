"""What has been polled and has no outcome yet: decoded, checked against crash counts, queued by deadline."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from skysail.topics.broker import TopicPartition
from skysail.topics.errors import DecodeError
from skysail.topics.records import ConsumedRecord, Outcome, decode_query
from skysail.workers.deadline_queue import DeadlineQueue
from skysail.workers.finished import Finished
from skysail.workers.journal import CrashLedger, RecordId, Verdict
from skysail.workers.offsets import OffsetTracker
from skysail.workers.undecodable import salvage
from skysail.workers.work import Work

__all__ = ["Intake"]

#: Bytes of queued payloads beyond which nothing more is polled.
_MOST_BYTES = 32 * 1024 * 1024
#: Rows that are looked ahead beyond two batches, so that deadlines have something to choose from.
_LOOK_AHEAD_ROWS = 32


class Intake:
    """Queues what was polled. Pure but for the record decoding; times are passed in.

    Args:
        tracker: told of every record.
        crash_limit: crashes after which a query is dead-lettered (>= 2).
    """

    def __init__(self, tracker: OffsetTracker, crash_limit: int) -> None:
        self._tracker = tracker
        self._crash_limit = crash_limit
        self._ledger = CrashLedger(limit=crash_limit)
        self._queue: DeadlineQueue[Work] = DeadlineQueue()
        self._alone: deque[Work] = deque()
        self._alone_next = True
        self._bytes = 0
        self.assigned: set[TopicPartition] = set()
        #: When the oldest of the waiting queries came, in monotonic nanoseconds; and the nearest deadline (unix ms).
        self.first_ns = 0
        self.nearest_ms = math.inf

    def __len__(self) -> int:
        """Queries waiting."""
        return len(self._queue) + len(self._alone)

    @property
    def rows(self) -> int:
        """Rows waiting to be batched."""
        return self._queue.rows

    @property
    def has_suspect(self) -> bool:
        """Whether a query waits that must run alone."""
        return bool(self._alone)

    def room(self, cap: int) -> int:
        """How many records to poll at most, so that the next two batches can be chosen by deadline."""
        if self._bytes > _MOST_BYTES:
            return 0
        return max(0, 2 * cap + _LOOK_AHEAD_ROWS - self._queue.rows)

    def take(self, records: Iterable[ConsumedRecord], now_ms: int, polled_ns: int, finished: Finished) -> None:
        """Queue polled records; what cannot be decoded, or must not run again, is finished at once."""
        assigned = self.assigned
        begin = self._tracker.begin
        if not self._queue.rows:
            self.first_ns, self.nearest_ms = polled_ns, math.inf
        suspects = self._ledger.counts
        for record in records:
            if (record.topic, record.partition) not in assigned:
                continue  # revoked in the same poll that fetched it: its new owner reads it
            begin(record.topic, record.partition, record.offset)
            try:
                query = decode_query(record)
            except DecodeError as error:
                self._refuse(record, error, finished)
                continue
            work = Work(query, record, polled_ns)
            if suspects and self._is_suspect(work, finished):
                continue
            self._bytes += len(query.payload)
            deadline_ms = query.deadline_ms
            if deadline_ms is not None and deadline_ms < self.nearest_ms:
                self.nearest_ms = deadline_ms
            self._queue.push(work, work.rows, deadline_ms, now_ms)

    def _refuse(self, record: ConsumedRecord, error: DecodeError, finished: Finished) -> None:
        finished.bury(record, "undecodable", str(error))
        query = salvage(record)
        if query is not None:
            finished.fail(Work(query, record), Outcome.BAD_INPUT, str(error))

    def _is_suspect(self, work: Work, finished: Finished) -> bool:
        record_id = record_id_of(work)
        verdict = self._ledger.verdict(record_id)
        if verdict is Verdict.TOGETHER:
            return False
        work.crashes = self._ledger.crashes(record_id)
        if verdict is Verdict.ALONE:
            self._alone.append(work)
            return True
        cause = f"the worker process ended {work.crashes} times while this query was running"
        finished.bury(work.record, "crash_limit", cause)
        finished.fail(work, Outcome.MODEL_ERROR, cause)
        return True

    def next_batch(self, cap: int, now_ms: int, now_ns: int, finished: Finished, answer_ms: int = 0) -> Sequence[Work]:
        """The next queries to run together; those whose time is over are finished as expired.

        Args:
            cap: most rows.
            now_ms: unix milliseconds.
            now_ns: monotonic nanoseconds.
            finished: takes what has expired.
            answer_ms: how long the batch will take; what has less time than that left is over.

        A suspect is a batch of its own; suspects and other batches take turns.
        """
        if self._alone and (self._alone_next or not self._queue):
            self._alone_next = False
            return self._next_suspect(now_ms, finished)
        self._alone_next = True
        batch, expired = self._queue.pop_batch(cap, now_ms + answer_ms)
        for work in expired:
            _expire(work, now_ms, finished, answer_ms)
        self._bytes -= sum([len(work.query.payload) for work in batch]) + sum(
            [len(work.query.payload) for work in expired]
        )
        self.first_ns = now_ns
        return batch

    def _next_suspect(self, now_ms: int, finished: Finished) -> Sequence[Work]:
        work = self._alone.popleft()
        deadline_ms = work.query.deadline_ms
        if deadline_ms is None or deadline_ms > now_ms:
            return [work]
        _expire(work, now_ms, finished)
        return []

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is queued of partitions that go to another member; it is read again there."""
        removed = self._queue.remove(lambda work: work.place in partitions)
        self._bytes -= sum(len(work.query.payload) for work in removed)
        self._alone = deque(work for work in self._alone if work.place not in partitions)

    def suspect(self, crashes: Mapping[str, int]) -> None:
        """Take over crash counts, by `crash_key`."""
        self._ledger = CrashLedger(crashes, limit=self._crash_limit)

    def settle(self, work: Work) -> None:
        """A suspect's outcome is stored."""
        self._ledger.settle(record_id_of(work))


def record_id_of(work: Work) -> RecordId:
    """The record's place in the log."""
    record = work.record
    return (record.topic, record.partition, record.offset)


def _expire(work: Work, now_ms: int, finished: Finished, answer_ms: int = 0) -> None:
    late_ms = now_ms - (work.query.deadline_ms or now_ms)
    if late_ms >= 0:
        cause = f"the deadline had passed by {late_ms} ms before the query could run"
    else:
        cause = f"{-late_ms} ms were left when the query could run, and a batch takes {answer_ms} ms"
    finished.fail(work, Outcome.EXPIRED, cause)
