"""A query in a worker's hands."""

from __future__ import annotations

from typing import Any

from skysail.topics.broker import TopicPartition
from skysail.topics.records import ConsumedRecord, Query

__all__ = ["Work"]


class Work:
    """A query from the moment that it was polled until its outcome is stored.

    Attributes:
        query: what is asked.
        record: where it came from, as it came.
        place: the record's topic and partition.
        polled_ns: when it was polled, in monotonic nanoseconds.
        rows: rows in the payload; until the payload is read, what the query's header says.
        data: the rows in the form that the input reader joins.
        layout: what a batch's members must share to be joined; the reader's own.
        crashes: how often the worker process ended while this query was running.
    """

    __slots__ = ("crashes", "data", "layout", "place", "polled_ns", "query", "record", "rows")

    def __init__(self, query: Query, record: ConsumedRecord, polled_ns: int = 0, crashes: int = 0) -> None:
        self.query = query
        self.record = record
        self.place: TopicPartition = (record.topic, record.partition)
        self.polled_ns = polled_ns
        self.crashes = crashes
        self.rows = query.rows or 1
        self.data: Any = None
        self.layout: Any = None
