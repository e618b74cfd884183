"""Records: a query on Kafka, and the replies that come back through Redis. Frozen, with one way in and one way out.

A query's value is its payload; everything else is a header (UTF-8). Producers that know nothing of Skysail send a
bare JSON value and no headers; Spring's, Faust's, CloudEvents' and MLServer's headers are understood as well.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from skysail.topics.errors import DecodeError
from skysail.topics.payloads import JSON, TENSOR

__all__ = [
    "ConsumedRecord",
    "Header",
    "Outcome",
    "Query",
    "Reply",
    "ReplyBatch",
    "dead_letter_headers",
    "decode_query",
    "decode_reply_batch",
    "encode_query_headers",
    "encode_reply_batch",
]

Header = tuple[str, bytes]


class Outcome(StrEnum):
    """What became of a query. Every query ends in exactly one; each maps to one HTTP status."""

    OK = "ok"
    BAD_INPUT = "bad_input"
    MODEL_ERROR = "model_error"
    EXPIRED = "expired"
    REJECTED = "rejected"
    NO_MODEL = "no_model"

    @property
    def http_status(self) -> int:
        """200, 400, 500, 504, 429 or 404."""
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Outcome.OK: 200,
    Outcome.BAD_INPUT: 400,
    Outcome.MODEL_ERROR: 500,
    Outcome.EXPIRED: 504,
    Outcome.REJECTED: 429,
    Outcome.NO_MODEL: 404,
}


class ConsumedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it came from the broker, before anything is understood.

    Attributes:
        topic, partition, offset: its place.
        value, key, headers: as they were sent; a value of None is a tombstone.
        timestamp_ms: unix ms.
        fault: why `headers` could not be read (they are None then); empty when they could.
    """

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: list[tuple[str, bytes | None]] | None = None
    timestamp_ms: int = 0
    fault: str = ""


class Query(msgspec.Struct, frozen=True, gc=False):
    """One query of one or more rows.

    Attributes:
        id: UUIDv7 for Skysail's own clients; the idempotency key.
        payload: the rows, as `content_type` says.
        content_type: ``application/json`` or ``application/x-skysail-tensor``.
        rows: how many rows (>= 1); None: `payload` is one bare JSON value, a single row.
        reply_to: ``redis:<client-id>`` or ``kafka:<topic>``; None: the outcome is kept as a job.
        deadline_ms: unix ms after which nobody wants the answer; None: no deadline.
        accept: content type wanted for the answer; tensors are sent only to who asks for them.
        cache_ttl_s: seconds that the answer may be served from the cache; 0: it is not cached.
        traceparent: W3C trace context.
        correlation_id: what a foreign producer calls the query; goes back with the answer as it came.
    """

    id: str
    payload: bytes
    content_type: str = JSON
    rows: int | None = 1
    reply_to: str | None = None
    deadline_ms: int | None = None
    accept: str = JSON
    cache_ttl_s: int = 0
    traceparent: str | None = None
    correlation_id: bytes | None = None


def encode_query_headers(query: Query) -> list[Header]:
    """The Kafka headers of a query. Absent values have no header."""
    headers = [("skysail-id", query.id.encode()), ("content-type", query.content_type.encode())]
    if query.rows is not None:
        headers.append(("skysail-rows", b"%d" % query.rows))
    if query.reply_to is not None:
        headers.append(("skysail-reply-to", query.reply_to.encode()))
    if query.deadline_ms is not None:
        headers.append(("skysail-deadline", b"%d" % query.deadline_ms))
    if query.accept != JSON:
        headers.append(("accept", query.accept.encode()))
    if query.cache_ttl_s:
        headers.append(("skysail-cache-ttl", b"%d" % query.cache_ttl_s))
    if query.traceparent is not None:
        headers.append(("traceparent", query.traceparent.encode()))
    if query.correlation_id is not None:
        headers.append(("correlation-id", query.correlation_id))
    return headers


#: Foreign spellings of Skysail's headers, in order of preference (Spring, Faust, plain).
_CORRELATION_HEADERS = ("correlation-id", "kafka_correlationId", "Faust-Ag-CorrelationId")
_REPLY_TOPIC_HEADERS = ("reply-to", "kafka_replyTopic", "Faust-Ag-ReplyTo")

#: Kafka's own rule.
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
#: Bounds of numbers in headers, and how much of a bad one an error shows. What is beyond them is no row count, date or
#: time to live, and would fail later and less clearly.
_MOST = 2**31 - 1
_LATEST_MS = 2**53
_SHOWN = 60


def decode_query(record: ConsumedRecord) -> Query:
    """Read a query from a record, whoever produced it.

    A record without an id is named by its place, ``<topic>-<partition>-<offset>``, which is as unique.

    Raises:
        DecodeError: when there is no value, or a header cannot be read; it keeps the value's bytes.
    """
    value = record.value
    if value is None:
        message = "the record has no value (a tombstone): expected a JSON value or tensors"
        raise DecodeError(message)
    if record.fault:
        message = f"the record's headers cannot be read: {record.fault}"
        raise DecodeError(message, value)
    headers = dict(record.headers) if record.headers else {}
    try:
        return _query_from(record, value, headers)
    except ValueError as error:
        message = f"the record's headers cannot be read: {error}"
        raise DecodeError(message, value) from None


def _query_from(record: ConsumedRecord, value: bytes, headers: dict[str, bytes | None]) -> Query:
    get = headers.get
    content_type = _content_type(get("content-type"))
    deadline = get("skysail-deadline")
    ttl = get("skysail-cache-ttl")
    return Query(
        id=_query_id(record, headers),
        payload=value,
        content_type=content_type,
        rows=_rows(headers, content_type),
        reply_to=_reply_to(headers),
        deadline_ms=_number("skysail-deadline", deadline, 0, _LATEST_MS) if deadline is not None else None,
        accept=_text(get("accept")) or JSON,
        cache_ttl_s=_number("skysail-cache-ttl", ttl, 0, _MOST) if ttl is not None else 0,
        traceparent=_text(get("traceparent")),
        correlation_id=next((headers[name] for name in _CORRELATION_HEADERS if name in headers), None),
    )


def _query_id(record: ConsumedRecord, headers: dict[str, bytes | None]) -> str:
    own = headers.get("skysail-id")
    if own:
        return own.decode()
    event = headers.get("ce_id")
    if event:
        # CloudEvents: source and id together are unique, the id alone is not.
        source = headers.get("ce_source")
        return f"{source.decode()}#{event.decode()}" if source else event.decode()
    # MLServer's Kafka clients put the request id into the key and name the model in a header.
    if record.key and "mlserver-model" in headers:
        return record.key.decode()
    return f"{record.topic}-{record.partition}-{record.offset}"


def _rows(headers: dict[str, bytes | None], content_type: str) -> int | None:
    """Tensors carry their row count; a JSON value without a count is one bare row."""
    if "skysail-rows" in headers:
        return _number("skysail-rows", headers["skysail-rows"], 1, _MOST)
    return 1 if content_type == TENSOR else None


def _content_type(raw: bytes | None) -> str:
    if raw is None or raw == b"application/json":
        return JSON
    text = raw.decode().partition(";")[0].strip().lower()
    if text not in (JSON, TENSOR):
        message = f"content-type {text[:_SHOWN]!r}: expected {JSON} or {TENSOR}"
        raise ValueError(message)
    return text


def _reply_to(headers: dict[str, bytes | None]) -> str | None:
    own = headers.get("skysail-reply-to")
    if own is not None:
        if own.startswith(b"kafka:"):
            return _topic(own[6:])
        if not own.startswith(b"redis:") or own == b"redis:":
            message = f"skysail-reply-to {own[:_SHOWN]!r}: expected redis:<client-id> or kafka:<topic>"
            raise ValueError(message)
        return own.decode()
    topic = next((headers[name] for name in _REPLY_TOPIC_HEADERS if headers.get(name)), None)
    return _topic(topic) if topic else None


def _topic(raw: bytes) -> str:
    """`kafka:<topic>`, of a topic that can exist: no broker would ever take the answer otherwise."""
    name = raw.decode()
    if _TOPIC.fullmatch(name) is None or name in {".", ".."}:
        message = f"no topic can be named {name[:_SHOWN]!r}, which is to take the answer"
        raise ValueError(message)
    return f"kafka:{name}"


def _number(name: str, raw: bytes | None, lowest: int, highest: int) -> int:
    try:
        number = int(raw or b"")
    except ValueError:
        message = f"{name} {(raw or b'')[:_SHOWN]!r}: expected a whole number"
        raise ValueError(message) from None
    if not lowest <= number <= highest:
        message = f"{name} {number}: expected {lowest} to {highest}"
        raise ValueError(message)
    return number


def _text(raw: bytes | None) -> str | None:
    return raw.decode() if raw is not None else None


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The outcome of one query.

    Attributes:
        id: the query's id.
        outcome: an `Outcome` value.
        value: the outputs, a JSON array with one element for each row; for a failure, its cause as UTF-8 text.
        tensor: `value` is a tensor payload instead of JSON.
        queue_us: microseconds between the worker's poll and the start of predict.
    """

    id: str
    outcome: str
    value: bytes
    tensor: bool = False
    queue_us: int = 0

    @property
    def cause(self) -> str:
        """Why the query failed, for people."""
        return self.value.decode("utf-8", "replace")


class ReplyBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The outcomes that one batch had for one client: one stream entry.

    Attributes:
        worker: id of the worker that answered.
        version: the model version that answered.
        rows: rows in the whole batch that predict was given.
        predict_us: duration of predict, in microseconds.
        replies: one for each query.
    """

    worker: str
    version: str
    rows: int
    predict_us: int
    replies: list[Reply]


_reply_encoder = msgspec.msgpack.Encoder()
_reply_decoder = msgspec.msgpack.Decoder(ReplyBatch)


def encode_reply_batch(batch: ReplyBatch) -> bytes:
    """MessagePack arrays, in the order of the fields."""
    return _reply_encoder.encode(batch)


def decode_reply_batch(data: bytes) -> ReplyBatch:
    """Read one stream entry.

    Raises:
        DecodeError: when the bytes are not a reply batch.
    """
    try:
        return _reply_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"not a reply batch: {error}"
        raise DecodeError(message, data) from None


def dead_letter_headers(record: ConsumedRecord, reason: str, error: str, now_ms: int | None = None) -> list[Header]:
    """Headers of a dead letter: the record's own, then origin and reason, in Skysail's and Spring's spelling."""
    own = [(name, value) for name, value in record.headers or () if value is not None]
    stamped = int(time.time() * 1000) if now_ms is None else now_ms
    origin: Iterable[tuple[str, Any]] = (
        ("original-topic", record.topic),
        ("original-partition", record.partition),
        ("original-offset", record.offset),
        ("original-timestamp", record.timestamp_ms),
    )
    headers: list[Header] = [(f"skysail-dlt-{name}", str(value).encode()) for name, value in origin]
    headers += [(f"kafka_dlt-{name}", str(value).encode()) for name, value in origin]
    told = error.encode("utf-8", "backslashreplace")
    headers += [
        ("skysail-dlt-reason", reason.encode()),
        ("skysail-dlt-error", told),
        ("skysail-dlt-timestamp", str(stamped).encode()),
        ("kafka_dlt-exception-fqcn", reason.encode()),
        ("kafka_dlt-exception-message", told),
    ]
    return own + headers
