"""Prometheus metrics of one worker, updated once a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

__all__ = ["NO_METRICS", "Metrics", "WorkerMetrics"]

_LABELS = ("model", "version")
#: 1 to 4096 rows.
_ROWS = tuple(float(2**power) for power in range(13))
#: 0.1 ms to about 26 s.
_SECONDS = tuple(0.0001 * 4**power for power in range(10))


class Metrics(Protocol):
    """What the loop reports."""

    def batch(self, rows: int, predict_s: float, queue_s: float, cap: int) -> None:
        """A batch has run; `queue_s` is how long its first query waited in the worker."""
        ...

    def outcomes(self, counts: Mapping[str, int], dead_letters: int) -> None:
        """Outcomes have been stored."""
        ...


class _NoMetrics:
    def batch(self, rows: int, predict_s: float, queue_s: float, cap: int) -> None:
        """Nothing listens."""

    def outcomes(self, counts: Mapping[str, int], dead_letters: int) -> None:
        """Nothing listens."""


#: In place of metrics where no port is set.
NO_METRICS: Metrics = _NoMetrics()


class WorkerMetrics:
    """The metrics, in a registry of their own.

    Args:
        model, version: labels.
        outcomes: names of all outcomes, so that each series exists from the start.
    """

    def __init__(self, model: str, version: str, outcomes: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        rows = Histogram("skysail_worker_batch_rows", "Rows in a batch", _LABELS, registry=registry, buckets=_ROWS)
        predict = Histogram(
            "skysail_worker_predict_seconds",
            "Duration of a batch's predict",
            _LABELS,
            registry=registry,
            buckets=_SECONDS,
        )
        queue = Histogram(
            "skysail_worker_queue_seconds",
            "Time from the poll of a batch's first query to its predict",
            _LABELS,
            registry=registry,
            buckets=_SECONDS,
        )
        cap = Gauge("skysail_worker_batch_cap_rows", "Rows that the next batch may hold", _LABELS, registry=registry)
        dead = Counter(
            "skysail_worker_dead_letters_total", "Records sent to a dead-letter topic", _LABELS, registry=registry
        )
        crashed = Counter(
            "skysail_worker_crashed_queries_total",
            "Queries that were running when the process before this one ended",
            _LABELS,
            registry=registry,
        )
        total = Counter("skysail_worker_outcomes_total", "Queries by outcome", (*_LABELS, "outcome"), registry=registry)
        self._rows, self._predict, self._queue = (metric.labels(model, version) for metric in (rows, predict, queue))
        self._cap = cap.labels(model, version)
        self._dead = dead.labels(model, version)
        self.crashed = crashed.labels(model, version)
        self._outcomes = {name: total.labels(model, version, name) for name in outcomes}

    def serve(self, port: int) -> None:
        """Answer scrapes on a thread of their own."""
        start_http_server(port, registry=self.registry)

    def batch(self, rows: int, predict_s: float, queue_s: float, cap: int) -> None:
        """A batch has run."""
        self._rows.observe(rows)
        self._predict.observe(predict_s)
        self._queue.observe(queue_s)
        self._cap.set(cap)

    def outcomes(self, counts: Mapping[str, int], dead_letters: int) -> None:
        """Outcomes have been stored."""
        for name, count in counts.items():
            self._outcomes[name].inc(count)
        if dead_letters:
            self._dead.inc(dead_letters)
