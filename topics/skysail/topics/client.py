"""`PredictionClient`: publish a query, await its outcome. The one way in for HTTP, pipelines and Python code."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skysail.topics.broker import FailureCallback, RecordProducer
from skysail.topics.connections import Connections
from skysail.topics.errors import (
    BadInputError,
    ExpiredError,
    ModelError,
    NoModelError,
    RejectedError,
    SkysailError,
    UnavailableError,
)
from skysail.topics.ids import Uuid7Generator
from skysail.topics.kafka.producer import KafkaProducer
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.payloads import JSON, decode_json, decode_tensors, encode_json
from skysail.topics.pending import FROM_LOCAL_CACHE, FROM_SHARED_CACHE, Answer, Lane, Pending, PendingQueries
from skysail.topics.records import Outcome, Query, ReplyBatch, encode_query_headers
from skysail.topics.specs import ModelSpec
from skysail.topics.store.cache import LocalCache, SharedCache, cache_digest
from skysail.topics.store.registry import RegistrySnapshot
from skysail.topics.store.view import RegistryView

__all__ = ["Answer", "ClientOptions", "PredictionClient", "Target", "outputs_of"]


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a client behaves.

    Attributes:
        send_at_once: a query leaves at once while at most so many of its topic are in flight.
        hold_s: beyond that, queries are gathered for so long while others are with the workers, and for a turn of the
            event loop while none is.
        max_in_flight: queries of one topic in flight before `RejectedError`; fewer where more are not answered in
            time.
        cache_entries, cache_bytes: bounds of the cache in the process.
        store_grace_s: how long queries in flight wait for a store that went away before they fail.
        tick_s: how often deadlines are looked at while something is in flight.
    """

    send_at_once: int = 4
    hold_s: float = 0.001
    max_in_flight: int = 4096
    cache_entries: int = 100_000
    cache_bytes: int = 32 * 1024 * 1024
    store_grace_s: float = 0.8
    tick_s: float = 0.01


class Target(msgspec.Struct, frozen=True):
    """Where the queries of one model version go."""

    spec: ModelSpec
    topic: str
    cache_prefix: str
    lane: Lane


_OUTCOME_ERRORS: dict[str, type[SkysailError]] = {
    Outcome.BAD_INPUT: BadInputError,
    Outcome.MODEL_ERROR: ModelError,
    Outcome.EXPIRED: ExpiredError,
    Outcome.REJECTED: RejectedError,
    Outcome.NO_MODEL: NoModelError,
}


class PredictionClient:
    """Publishes queries to models' topics and awaits their replies. Lives in one event loop.

    Identical queries whose answers may be cached share one record. `start` before use, `close` after.

    Args:
        kafka: librdkafka properties, or a factory of another `RecordProducer` (the in-memory fake).
        redis_url: of the store.
        namespace: which deployment on that broker and store.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any] | Callable[[FailureCallback], RecordProducer],
        redis_url: str,
        namespace: str = "default",
        options: ClientOptions | None = None,
    ) -> None:
        self.options = options or ClientOptions()
        self.topics = TopicNames(namespace)
        self.keys = KeyNames(namespace)
        self.client_id = uuid.uuid4().hex
        self.new_id = Uuid7Generator()
        self._reply_to = f"redis:{self.client_id}"
        self._producer = kafka(self._on_failure) if callable(kafka) else KafkaProducer(kafka, self._on_failure)
        self._connections = Connections(
            self._producer,
            redis_url,
            self.keys,
            self.client_id,
            on_replies=self._take,
            on_store_lost=self._on_store_lost,
            store_grace_s=self.options.store_grace_s,
        )
        self.view = RegistryView(redis_url, self.keys, self._on_registry)
        self.cache: LocalCache[tuple[str, bytes]] = LocalCache(self.options.cache_entries, self.options.cache_bytes)
        self._shared = SharedCache(self._connections.channel)
        self._pending = PendingQueries()
        self._lanes: dict[str, Lane] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._ticking = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop

    # ------------------------------------------------------------------------------------------------ life

    async def start(self, timeout_s: float = 10.0) -> None:
        """Connect to store and broker and load the registry; raises UnavailableError when that takes too long."""
        self._loop = asyncio.get_running_loop()
        self.view.start()
        self._connections.start()
        if not await self.view.wait_loaded(timeout_s):
            await self.close()
            message = f"the store did not answer within {timeout_s} s: {self.view.last_error}"
            raise UnavailableError(message)

    async def close(self) -> None:
        """Fail what is in flight and whatever is asked from now on, and disconnect."""
        self._closed = True
        for pending in self._pending.pop_all():
            pending.fail(UnavailableError("the client is closing"))
        await self.view.close()
        await self._connections.close()

    @property
    def broker_available(self) -> bool:
        """False while the broker is known to be away."""
        return self._producer.available

    @property
    def store_available(self) -> bool:
        """False while the store is known to be away."""
        return self._connections.store_available

    @property
    def in_flight(self) -> int:
        """Queries without an outcome yet."""
        return len(self._pending)

    # ------------------------------------------------------------------------------------------------ asking

    def target(self, model: str, version: str | None = None) -> Target:
        """Where queries for a model go: its current version's topic, or a given version's.

        Raises:
            NoModelError: naming what is not there.
        """
        spec = self.view.snapshot.model(model, version)
        found = self._targets.get((spec.name, spec.version))
        if found is None or found.spec is not spec:
            topic = self.topics.version(spec.name, spec.version)
            lane = self._lanes.get(topic)
            if lane is None:
                lane = self._lanes[topic] = Lane(topic, spec.partitions, self.options.max_in_flight)
            prefix = self.keys.cache_prefix(spec.name, spec.version)
            found = self._targets[spec.name, spec.version] = Target(spec, topic, prefix, lane)
        return found

    async def ask(  # noqa: PLR0913 - a query has so many sides, and a bundle would cost an object for each
        self,
        target: Target,
        payload: bytes,
        *,
        timeout_ms: int,
        content_type: str = JSON,
        rows: int | None = 1,
        accept: str = JSON,
        cache_ttl_s: int = 0,
        traceparent: str | None = None,
        query_id: str | None = None,
    ) -> Answer:
        """Send one query and wait for its outcome, whatever that is.

        Args:
            target: where it goes, from `target`.
            payload: the rows, as `content_type` says.
            timeout_ms: from now; at that time the answer is `expired`, and a worker does not begin with it after.
            content_type: as in `Query`, and so are the rest.
            rows: how many; None for one bare JSON value.
            accept: content type wanted for the answer.
            cache_ttl_s: 0: neither cached nor shared with identical queries in flight.
            traceparent: W3C trace context.
            query_id: one from `new_id`, where the caller needs to know it.

        Raises:
            RejectedError: when too many queries are in flight.
            UnavailableError: when broker or store is away.
        """
        deadline_ms = time.time_ns() // 1_000_000 + timeout_ms
        query = Query(
            query_id or self.new_id(),
            payload,
            content_type,
            rows,
            self._reply_to,
            deadline_ms,
            accept,
            cache_ttl_s,
            traceparent,
        )
        if not cache_ttl_s:
            return await self._publish(target, query, timeout_ms, None)
        key = (target.cache_prefix, cache_digest(query))
        known = self.cache.get(key)
        if known is not None:
            return Answer("ok", known[0], tensor=known[1], version=target.spec.version, source=FROM_LOCAL_CACHE)
        return await self._ask_once(target, query, timeout_ms, key)

    async def _ask_once(self, target: Target, query: Query, timeout_ms: int, key: tuple[str, bytes]) -> Answer:
        """Let identical queries share one record, each until its own deadline."""
        limit_s = self._loop.time() + timeout_ms / 1000
        pending = self._pending.find(key)
        if pending is None:
            known = await self._look_up(target, query, key)
            if known is not None:
                return known
            pending = self._pending.find(key)
        while pending is not None:
            answer = await self._join(pending, limit_s, timeout_ms)
            if answer.outcome != Outcome.EXPIRED or self._loop.time() >= limit_s:
                return answer
            # Who asked first had less time; the query goes on for those who have more.
            pending = self._pending.find(key)
        return await self._publish(target, query, max(1, int((limit_s - self._loop.time()) * 1000)), key)

    def _join(self, pending: Pending, limit_s: float, timeout_ms: int) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        if pending.joined is None:
            pending.joined = []
        pending.joined.append(future)
        if limit_s < pending.deadline:
            self._loop.call_at(limit_s, _give_up, future, timeout_ms)
        return future

    async def _look_up(self, target: Target, query: Query, key: tuple[str, bytes]) -> Answer | None:
        if not self._connections.store_available:
            return None
        known = await self._shared.get(target.cache_prefix + key[1].hex())
        if known is None:
            return None
        self.cache.put(key, known, query.cache_ttl_s)
        return Answer("ok", known[0], tensor=known[1], version=target.spec.version, source=FROM_SHARED_CACHE)

    def _publish(
        self, target: Target, query: Query, timeout_ms: int, key: tuple[str, bytes] | None
    ) -> asyncio.Future[Answer]:
        lane = target.lane
        if not lane.admission.admits(lane.in_flight, timeout_ms / 1000):
            limit = int(lane.admission.limit(timeout_ms / 1000))
            message = f"{lane.in_flight} queries of model {target.spec.name} are in flight; the limit is {limit}"
            if limit < self.options.max_in_flight:
                message += f", as many as are answered well within {timeout_ms} ms"
            raise RejectedError(message)
        if self._closed:
            message = "the client is closed"
            raise UnavailableError(message)
        missing = self._connections.missing
        if missing:
            raise UnavailableError(missing)
        future: asyncio.Future[Answer] = self._loop.create_future()
        pending = Pending(lane, query.rows or 1, timeout_ms, self._loop.time() + timeout_ms / 1000, future)
        pending.ttl_s = query.cache_ttl_s
        self._pending.add(query.id, pending, key)
        lane.outbox.append((pending, query))
        self._schedule(lane)
        return future

    # ------------------------------------------------------------------------------------------------ sending

    def _schedule(self, lane: Lane) -> None:
        """Small batches would flood broker, worker and store alike, so what is sent follows load."""
        if not lane.gathering:
            if lane.in_flight <= self.options.send_at_once:
                self._flush(lane)
            else:
                lane.gathering = True
                if lane.in_flight == len(lane.outbox):  # nothing is with the workers: gather this turn's, no more
                    self._loop.call_soon(self._loop.call_soon, self._flush, lane)
                else:
                    self._loop.call_later(self.options.hold_s, self._flush, lane)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(self.options.tick_s, self._tick)

    def _flush(self, lane: Lane) -> None:
        lane.gathering = False
        outbox, lane.outbox = lane.outbox, []
        chooser, send, waiting = lane.chooser, self._producer.send, self._pending
        chooser.new_flush()
        for pending, query in outbox:
            if query.id not in waiting:  # given up meanwhile
                continue
            partition = pending.partition = chooser.take(pending.rows)
            try:
                send(lane.topic, partition, query.payload, query.id.encode(), encode_query_headers(query))
            except SkysailError as error:
                self._fail(query.id, error)
        self._producer.poll()

    def _fail(self, query_id: str, error: SkysailError) -> None:
        pending = self._pending.pop(query_id)
        if pending is not None:
            pending.fail(error)

    def _on_failure(self, key: bytes | None, reason: str) -> None:
        if key is not None:
            self._fail(key.decode(), UnavailableError(f"the broker did not take the query: {reason}"))

    def _tick(self) -> None:
        """Give up on queries whose deadline is over; serve the producer's reports."""
        now = self._loop.time()
        self._connections.look(now)
        last: dict[Lane, Pending] = {}
        for pending in self._pending.pop_expired(now):
            last[pending.lane] = pending
            pending.resolve(_expired(pending.timeout_ms))
        for pending in last.values():
            pending.tell(now, answered=False)
        self._ticking = bool(self._pending)
        if self._ticking:
            self._loop.call_later(self.options.tick_s, self._tick)

    # ------------------------------------------------------------------------------------------------ replies

    def _take(self, batch: ReplyBatch) -> None:
        last, outcome = None, ""
        for reply in batch.replies:
            pending = self._pending.pop(reply.id)
            if pending is None:
                continue  # given up at its deadline, or answered before by a redelivered copy
            if pending.key is not None and reply.outcome == Outcome.OK:
                self.cache.put(pending.key, (reply.value, reply.tensor), pending.ttl_s)
            pending.resolve(Answer.from_reply(reply, batch))
            last, outcome = pending, reply.outcome
        if last is not None:
            last.tell(self._loop.time(), answered=outcome != "expired")

    def _on_store_lost(self) -> None:
        for pending in self._pending.pop_all():
            pending.fail(UnavailableError("the store went away before the answer came"))

    def _on_registry(self, snapshot: RegistrySnapshot) -> None:
        """Learn new topics ahead of their first query, forget those of deleted versions."""
        live = {(spec.name, spec.version) for versions in snapshot.models.values() for spec in versions.values()}
        for gone in self._targets.keys() - live:
            self._lanes.pop(self._targets.pop(gone).topic, None)
        for model, version in live - self._targets.keys():
            topic = self.target(model, version).topic
            self._loop.run_in_executor(None, self._producer.learn, topic, 2.0)

    # ------------------------------------------------------------------------------------------------ for people

    async def predict(
        self,
        model: str,
        inputs: list[Any],
        *,
        version: str | None = None,
        timeout_s: float = 10.0,
        cache_ttl_s: int = 0,
    ) -> list[Any]:
        """Outputs for `inputs`, one for each; `inputs` are JSON values, one row each.

        Raises:
            BadInputError, ModelError, ExpiredError, RejectedError, UnavailableError, NoModelError: by outcome.
        """
        if not inputs:
            return []
        target = self.target(model, version)
        answer = await self.ask(
            target, encode_json(inputs), rows=len(inputs), timeout_ms=int(timeout_s * 1000), cache_ttl_s=cache_ttl_s
        )
        outputs: list[Any] = outputs_of(answer)
        return outputs


def _expired(timeout_ms: int) -> Answer:
    cause = f"no prediction within {timeout_ms} ms".encode()
    return Answer(Outcome.EXPIRED, cause, tensor=False, version="", source="client")


def _give_up(future: asyncio.Future[Answer], timeout_ms: int) -> None:
    if not future.done():
        future.set_result(_expired(timeout_ms))


def outputs_of(answer: Answer) -> Any:
    """The outputs of an answer: a list of rows, or a dict of arrays; raises the error that its outcome means."""
    error = _OUTCOME_ERRORS.get(answer.outcome)
    if error is not None:
        raise error(answer.cause)
    return decode_tensors(answer.value) if answer.tensor else decode_json(answer.value)
