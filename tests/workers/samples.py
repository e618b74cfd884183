"""Queries, records and fakes that worker tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skysail.topics.payloads import JSON, TENSOR, encode_json, encode_tensors
from skysail.topics.records import ConsumedRecord, Query, encode_query_headers
from skysail.topics.store.connection import Command
from skysail.workers.finished import Finished
from skysail.workers.keeper import ConsumerKeeper
from skysail.workers.work import Work

__all__ = [
    "TOPIC",
    "FakeStore",
    "FunctionAsModel",
    "an_idle_keeper",
    "outcomes_of",
    "query_of",
    "record_of",
    "values_of",
    "vector_query",
    "work_of",
]

TOPIC = "skysail.t.models.m.1.queries"


def query_of(value: Any = 1, query_id: str = "q", rows: int | None = None, **fields: Any) -> Query:
    """A query with a JSON payload; without `rows` it is one bare value."""
    return Query(query_id, encode_json(value), JSON, rows, **fields)


def vector_query(*numbers: float, query_id: str = "q", **fields: Any) -> Query:
    """A query of one row of doubles, as frontends send it."""
    return Query(query_id, encode_tensors({"input": np.array([numbers])}), TENSOR, 1, **fields)


def record_of(query: Query, offset: int = 0, topic: str = TOPIC, partition: int = 0) -> ConsumedRecord:
    """The record that a query is."""
    headers: list[tuple[str, bytes | None]] = [*encode_query_headers(query)]
    return ConsumedRecord(topic, partition, offset, query.payload, query.id.encode(), headers)


def work_of(query: Query, offset: int = 0, crashes: int = 0) -> Work:
    """A query in hand."""
    return Work(query, record_of(query, offset), crashes=crashes)


def outcomes_of(finished: Finished) -> dict[str, str]:
    """Outcome by query id."""
    return {work.query.id: reply.outcome for work, reply in finished.answers}


def values_of(finished: Finished) -> dict[str, bytes]:
    """What each query is answered."""
    return {work.query.id: reply.value for work, reply in finished.answers}


class FunctionAsModel:
    """A model that remembers the batches that it was given."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self.batches: list[Any] = []

    def predict(self, batch: Any) -> Any:
        self.batches.append(batch)
        return self._function(batch)

    def close(self) -> None:
        """Nothing is held."""


class FakeStore:
    """A store that answers what it is told to, call by call; then None for every command."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.calls: list[list[Command]] = []

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        self.calls.append(list(commands))
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return [None] * len(commands) if answer is None else list(answer)


def an_idle_keeper() -> ConsumerKeeper:
    """A keeper that is never started."""
    return ConsumerKeeper(lambda: None)
