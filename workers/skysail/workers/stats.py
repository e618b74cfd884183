"""What a worker knows of itself: written by the loop alone, read by the heartbeat and the metrics without locks."""

from __future__ import annotations

from skysail.topics.specs import WorkerState

__all__ = ["WorkerStats"]


class WorkerStats:
    """Totals since start, and the present state. Each attribute is replaced or counted up by one thread.

    Attributes:
        state: where the worker is in its life.
        partitions: of the version's own topic, now assigned.
        batch_cap: rows that the sizer allows now.
        batches, rows, queries: that predict was given.
        predict_s: seconds spent in predict.
        outcomes: how many queries had each outcome.
        dead_letters: records that went to a dead-letter topic.
        error: traceback of a failed load.
    """

    __slots__ = (
        "batch_cap",
        "batches",
        "dead_letters",
        "error",
        "outcomes",
        "partitions",
        "predict_s",
        "queries",
        "rows",
        "state",
    )

    def __init__(self) -> None:
        self.state = WorkerState.LOADING
        self.partitions: tuple[int, ...] = ()
        self.batch_cap = 0
        self.batches = 0
        self.rows = 0
        self.queries = 0
        self.predict_s = 0.0
        self.outcomes: dict[str, int] = {}
        self.dead_letters = 0
        self.error = ""
