"""Counts what happened, once a batch, for the heartbeat and for Prometheus."""

from __future__ import annotations

from skysail.workers.finished import Finished
from skysail.workers.metrics import Metrics
from skysail.workers.stats import WorkerStats

__all__ = ["Recorder"]


class Recorder:
    """Adds to stats and metrics."""

    def __init__(self, stats: WorkerStats, metrics: Metrics) -> None:
        self._stats = stats
        self._metrics = metrics

    def ran(self, queries: int, finished: Finished, queue_s: float, cap: int) -> None:
        """A batch of `queries` has run; its first query waited `queue_s` seconds in the worker."""
        stats = self._stats
        predict_s = finished.predict_us / 1e6
        stats.batches += 1
        stats.rows += finished.rows
        stats.queries += queries
        stats.predict_s += predict_s
        stats.batch_cap = cap
        self._metrics.batch(finished.rows, predict_s, queue_s, cap)

    def stored(self, finished: Finished) -> None:
        """The outcomes have been stored."""
        counts: dict[str, int] = {}
        for _, reply in finished.answers:
            counts[reply.outcome] = counts.get(reply.outcome, 0) + 1
        totals = self._stats.outcomes
        # Replaced, not changed: another thread may be reading it.
        self._stats.outcomes = totals | {name: totals.get(name, 0) + count for name, count in counts.items()}
        self._stats.dead_letters += len(finished.dead_letters)
        self._metrics.outcomes(counts, len(finished.dead_letters))
