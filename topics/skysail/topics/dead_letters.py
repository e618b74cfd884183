"""Dead letters: what a worker could neither read nor compute, with where it came from and why. Pure."""

from __future__ import annotations

import msgspec

from skysail.topics.errors import DecodeError
from skysail.topics.records import ConsumedRecord, Header, decode_query

__all__ = ["DeadLetter", "LetterFilter", "read_dead_letter", "replayed_headers"]

_OWN, _SPRINGS = "skysail-dlt-", "kafka_dlt-"
#: A replay is a new attempt: the deadline of the first one has passed.
_NOT_REPLAYED = frozenset({"skysail-deadline"})


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record on a dead-letter topic.

    Attributes:
        record: as it lies there.
        query_id: of the query that it was; what its answer carried.
        topic, partition, offset, timestamp_ms: where it came from, and when it was sent there (unix ms).
        reason: ``undecodable`` or ``crash_limit``.
        error: what was wrong, for people.
        buried_ms: unix ms.
        waits: whether its outcome was kept as a job, for want of an address.
    """

    record: ConsumedRecord
    query_id: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    error: str
    buried_ms: int
    waits: bool

    @property
    def place(self) -> str:
        """``partition/offset`` on its dead-letter topic."""
        return f"{self.record.partition}/{self.record.offset}"


def read_dead_letter(record: ConsumedRecord) -> DeadLetter:
    """Read a record of a dead-letter topic.

    Raises:
        DecodeError: when it does not say where it came from: no worker put it there.
    """
    headers = {name: value or b"" for name, value in record.headers or ()}
    try:
        topic = headers[f"{_OWN}original-topic"].decode()
        partition, offset, timestamp_ms, buried_ms = [
            int(headers[f"{_OWN}{name}"])
            for name in ("original-partition", "original-offset", "original-timestamp", "timestamp")
        ]
    except (KeyError, ValueError) as error:
        message = f"the record at {record.topic}/{record.partition}/{record.offset} is no dead letter: {error}"
        raise DecodeError(message, record.value or b"") from None
    query_id, waits = _query_of(record, topic, partition, offset)
    return DeadLetter(
        record=record,
        query_id=query_id,
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        reason=headers.get(f"{_OWN}reason", b"").decode("utf-8", "replace"),
        error=headers.get(f"{_OWN}error", b"").decode("utf-8", "replace"),
        buried_ms=buried_ms,
        waits=waits,
    )


def _query_of(record: ConsumedRecord, topic: str, partition: int, offset: int) -> tuple[str, bool]:
    """Id and whether there was no address, as the worker understood them."""
    origin = msgspec.structs.replace(record, topic=topic, partition=partition, offset=offset)
    try:
        query = decode_query(origin)
    except DecodeError:
        return f"{topic}-{partition}-{offset}", True
    return query.id, query.reply_to is None


def replayed_headers(letter: DeadLetter) -> list[Header]:
    """The headers with which a letter is sent once more: its own and its id, without those of its burial."""
    own = [
        (name, value)
        for name, value in letter.record.headers or ()
        if value is not None and not name.startswith((_OWN, _SPRINGS)) and name not in _NOT_REPLAYED
    ]
    if any(name == "skysail-id" for name, _ in own):
        return own
    return [*own, ("skysail-id", letter.query_id.encode())]


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant; what is None does not matter.

    Attributes:
        query_id: exactly.
        reason: exactly.
        error: a part of its text, in any case.
        since_ms, until_ms: buried from, and before (unix ms).
    """

    query_id: str | None = None
    reason: str | None = None
    error: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        return (
            self.query_id in (None, letter.query_id)
            and self.reason in (None, letter.reason)
            and (self.error is None or self.error.lower() in letter.error.lower())
            and (self.since_ms is None or letter.buried_ms >= self.since_ms)
            and (self.until_ms is None or letter.buried_ms < self.until_ms)
        )
