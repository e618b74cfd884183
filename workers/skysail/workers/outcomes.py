"""Groups a batch's outcomes by where they go: store commands, and records for Kafka. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from skysail.topics.names import KeyNames, dead_letter_topic
from skysail.topics.payloads import JSON, TENSOR
from skysail.topics.records import Header, Reply, ReplyBatch, dead_letter_headers
from skysail.topics.store.cache import cache_store_command
from skysail.topics.store.connection import Command
from skysail.topics.store.jobs import job_store_command
from skysail.topics.store.replies import reply_commands
from skysail.workers.finished import DeadLetter, Finished
from skysail.workers.journal import crash_key
from skysail.workers.work import Work

__all__ = ["OutcomeWriter", "Outgoing"]

#: Replies of one client that together are larger travel as several stream entries.
_LARGEST_ENTRY_BYTES = 16 * 1024 * 1024
#: The caller's own correlation goes back under the names that it used.
_PASSED_ON = frozenset({"kafka_correlationId", "Faust-Ag-CorrelationId", "traceparent"})
_JSON_TYPE: Header = ("content-type", JSON.encode())
_TENSOR_TYPE: Header = ("content-type", TENSOR.encode())
_TEXT_TYPE: Header = ("content-type", b"text/plain; charset=utf-8")


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to be produced."""

    topic: str
    value: bytes
    key: bytes | None
    headers: list[Header]


class OutcomeWriter:
    """Turns finished batches into commands and records.

    Args:
        keys: names of the namespace.
        model, version: what answers.
        worker_id: who answers.
        job_ttl_s: how long outcomes that nobody waits for are kept.
        now_ms: unix milliseconds.
    """

    def __init__(
        self,
        keys: KeyNames,
        *,
        model: str,
        version: str,
        worker_id: str,
        job_ttl_s: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._keys = keys
        self._worker_id = worker_id
        self._version = version
        self._version_header = ("skysail-version", version.encode())
        self._job_ttl_s = job_ttl_s
        self._now_ms = now_ms
        self._cache_prefix = keys.cache_prefix(model, version)
        self._suspects = keys.suspects(model)

    def commands(self, finished: Finished) -> tuple[list[Command], list[tuple[Work, Reply]]]:
        """Everything for the store, to be sent in one go; and the answers that go to Kafka's reply topics instead."""
        commands: list[Command] = []
        for_kafka: list[tuple[Work, Reply]] = []
        by_client: dict[str, list[Reply]] = {}
        for work, reply in finished.answers:
            query = work.query
            to = query.reply_to
            if to is None:
                commands.append(self.job_command(query.id, reply, finished))
            elif to.startswith("redis:"):
                replies = by_client.get(to)
                if replies is None:
                    by_client[to] = [reply]
                else:
                    replies.append(reply)
            else:
                for_kafka.append((work, reply))
            if query.cache_ttl_s > 0 and reply.outcome == "ok":
                commands.append(cache_store_command(self._cache_prefix, query, (reply.value, reply.tensor)))
            if work.crashes:
                commands.append(("HDEL", self._suspects, crash_key((*work.place, work.record.offset))))
        for to, replies in by_client.items():
            key = self._keys.replies(to[6:])
            for part in _entries(replies):
                commands += reply_commands(key, self._batch(part, finished))
        return commands, for_kafka

    def job_command(self, query_id: str, reply: Reply, finished: Finished) -> Command:
        """Keep one outcome until somebody asks for it."""
        return job_store_command(self._keys.job(query_id), self._batch([reply], finished), self._job_ttl_s)

    def _batch(self, replies: list[Reply], finished: Finished) -> ReplyBatch:
        return ReplyBatch(self._worker_id, self._version, finished.rows, finished.predict_us, replies)

    def reply_record(self, work: Work, reply: Reply) -> Outgoing:
        """The answer for the Kafka reply topic that the query names."""
        query = work.query
        headers: list[Header] = [
            ("skysail-id", query.id.encode()),
            ("skysail-outcome", reply.outcome.encode()),
            self._version_header,
            _content_type(reply),
        ]
        if query.correlation_id is not None:
            headers.append(("correlation-id", query.correlation_id))
        headers += [
            (name, value) for name, value in work.record.headers or () if name in _PASSED_ON and value is not None
        ]
        return Outgoing((query.reply_to or "")[6:], reply.value, work.record.key, headers)

    def dead_letter(self, letter: DeadLetter) -> Outgoing:
        """The record as it came, for its topic's dead letters."""
        record = letter.record
        headers = dead_letter_headers(record, letter.reason, letter.error, self._now_ms())
        return Outgoing(dead_letter_topic(record.topic), record.value or b"", record.key, headers)


def _content_type(reply: Reply) -> Header:
    if reply.outcome != "ok":
        return _TEXT_TYPE
    return _TENSOR_TYPE if reply.tensor else _JSON_TYPE


def _entries(replies: list[Reply]) -> Iterable[list[Reply]]:
    """Replies in order, cut where one stream entry would become too large."""
    if sum([len(reply.value) for reply in replies]) <= _LARGEST_ENTRY_BYTES:
        return [replies]
    parts: list[list[Reply]] = [[]]
    size = 0
    for reply in replies:
        size += len(reply.value)
        if parts[-1] and size > _LARGEST_ENTRY_BYTES:
            parts.append([])
            size = len(reply.value)
        parts[-1].append(reply)
    return parts
