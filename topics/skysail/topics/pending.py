"""Queries that wait for their outcome: by id, by deadline, and by identical input. Pure but for the futures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from skysail.topics.admission import Admission
from skysail.topics.errors import ConflictError
from skysail.topics.kafka.partitions import PartitionChooser
from skysail.topics.records import Query, Reply, ReplyBatch

__all__ = ["Answer", "Lane", "Pending", "PendingQueries"]

#: In `Answer.source`.
FROM_MODEL, FROM_LOCAL_CACHE, FROM_SHARED_CACHE = "model", "local-cache", "shared-cache"


class Answer:
    """The outcome of a query, as its caller sees it.

    Attributes:
        outcome: an `Outcome` value.
        value: the outputs (JSON array of rows, or tensors when `tensor`); for a failure, its cause as UTF-8.
        tensor: whether `value` is a tensor payload.
        version: the model version that answered.
        source: ``model``, ``local-cache`` or ``shared-cache``.
        queue_us, predict_us: time in the worker before and in predict; 0 from a cache.
        batch_rows: rows in the batch that predict was given; 0 from a cache.
    """

    __slots__ = ("batch_rows", "outcome", "predict_us", "queue_us", "source", "tensor", "value", "version")

    def __init__(self, outcome: str, value: bytes, *, tensor: bool, version: str, source: str) -> None:
        self.outcome = outcome
        self.value = value
        self.tensor = tensor
        self.version = version
        self.source = source
        self.queue_us = 0
        self.predict_us = 0
        self.batch_rows = 0

    @classmethod
    def from_reply(cls, reply: Reply, batch: ReplyBatch) -> Answer:
        """The answer that a reply holds."""
        answer = cls(reply.outcome, reply.value, tensor=reply.tensor, version=batch.version, source=FROM_MODEL)
        answer.queue_us = reply.queue_us
        answer.predict_us = batch.predict_us
        answer.batch_rows = batch.rows
        return answer

    @property
    def cause(self) -> str:
        """Why the query failed, for people."""
        return self.value.decode("utf-8", "replace")


class Lane:
    """What one topic has in flight.

    Attributes:
        admission: how many may be in flight.
        in_flight: queries without an outcome, those in the outbox among them.
        outbox: queries that are gathered to leave together.
        gathering: whether their leaving is arranged.
    """

    __slots__ = ("admission", "chooser", "gathering", "in_flight", "outbox", "topic")

    def __init__(self, topic: str, partitions: int, most: int = 4096) -> None:
        self.topic = topic
        self.admission = Admission(most)
        self.chooser = PartitionChooser(partitions)
        self.in_flight = 0
        self.outbox: list[tuple[Pending, Query]] = []
        self.gathering = False


class Pending:
    """One query on its way.

    Attributes:
        ahead: queries of its topic that were in flight before it.
        deadline: seconds of the event loop's clock.
        joined: later callers with the same input.
        partition: -1 until it leaves.
    """

    __slots__ = ("ahead", "deadline", "future", "joined", "key", "lane", "partition", "rows", "timeout_ms", "ttl_s")

    def __init__(self, lane: Lane, rows: int, timeout_ms: int, deadline: float, future: asyncio.Future[Answer]) -> None:
        self.lane = lane
        self.ahead = lane.in_flight
        self.rows = rows
        self.timeout_ms = timeout_ms
        self.deadline = deadline
        self.future = future
        self.joined: list[asyncio.Future[Answer]] | None = None
        self.key: tuple[str, bytes] | None = None
        self.partition = -1
        self.ttl_s = 0

    def tell(self, now_s: float, *, answered: bool) -> None:
        """Let admission know how long this query took, and whether it was answered or given up."""
        timeout_s = self.timeout_ms / 1000
        took_s = now_s - self.deadline + timeout_s
        self.lane.admission.observe(self.ahead, took_s, timeout_s, now_s, answered=answered)

    def resolve(self, answer: Answer) -> None:
        """Give everybody who waits the answer."""
        if not self.future.done():
            self.future.set_result(answer)
        if self.joined is not None:
            for future in self.joined:
                if not future.done():
                    future.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Raise `error` at everybody who waits."""
        for future in (self.future, *(self.joined or ())):
            if not future.done():
                future.set_exception(error)


class PendingQueries:
    """All queries on their way in one process.

    Queries with equal time limits expire in the order in which they came, so each limit keeps a dict in that order and
    only its head is looked at: no timer for each query.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Pending] = {}
        self._by_timeout: dict[int, dict[str, Pending]] = {}
        self._by_key: dict[tuple[str, bytes], Pending] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, query_id: str) -> bool:
        """Whether a query is on its way."""
        return query_id in self._by_id

    def add(self, query_id: str, pending: Pending, key: tuple[str, bytes] | None) -> None:
        """Begin to wait; `key` lets identical queries join. Raises ConflictError for an id that is on its way."""
        if query_id in self._by_id:
            message = f"a query with the id {query_id!r} is on its way already"
            raise ConflictError(message)
        self._by_id[query_id] = pending
        queue = self._by_timeout.get(pending.timeout_ms)
        if queue is None:
            queue = self._by_timeout[pending.timeout_ms] = {}
        queue[query_id] = pending
        pending.lane.in_flight += 1
        if key is not None:
            pending.key = key
            self._by_key[key] = pending

    def find(self, key: tuple[str, bytes]) -> Pending | None:
        """The query with the same input that is on its way."""
        return self._by_key.get(key)

    def pop(self, query_id: str) -> Pending | None:
        """End the wait for a query; None when nobody waits (any more)."""
        pending = self._by_id.pop(query_id, None)
        if pending is None:
            return None
        queue = self._by_timeout[pending.timeout_ms]
        del queue[query_id]
        if not queue:
            del self._by_timeout[pending.timeout_ms]
        if pending.key is not None:
            self._by_key.pop(pending.key, None)
        lane = pending.lane
        lane.in_flight -= 1
        if pending.partition >= 0:
            lane.chooser.done(pending.partition, pending.rows)
        return pending

    def pop_expired(self, now: float) -> Iterator[Pending]:
        """End the wait for every query whose deadline is over."""
        for queue in list(self._by_timeout.values()):
            while queue:
                query_id, pending = next(iter(queue.items()))
                if pending.deadline > now:
                    break
                self.pop(query_id)
                yield pending

    def pop_all(self) -> Iterator[Pending]:
        """End every wait."""
        for query_id in list(self._by_id):
            pending = self.pop(query_id)
            if pending is not None:
                yield pending
