"""How many rows the next batch may hold: pure state machines that learn from the batches that have finished.

A sizer is told of each finished batch, and its ``cap`` is the most rows to send next. The cap is a limit, never a
target: what is waiting is sent at once, unless a `BatchWait` is set. Nothing here reads a clock or starts a thread; one
owner calls ``observe``.

Durations are those of one predict call. The objective is the model's share of the application's latency objective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from skysail.workers.batch_aimd import DEFAULT_MAX_ROWS, AimdBatchSizer
from skysail.workers.batch_quantile import QuantileBatchSizer
from skysail.workers.ranges import at_least, check_batch

__all__ = [
    "DEFAULT_MAX_ROWS",
    "POLICIES",
    "AimdBatchSizer",
    "BatchSizer",
    "BatchWait",
    "FixedBatchSizer",
    "QuantileBatchSizer",
    "make_batch_sizer",
]

#: The names that `make_batch_sizer` takes.
POLICIES = ("aimd", "quantile", "fixed")


class BatchSizer(Protocol):
    """Decides the largest batch to send now."""

    @property
    def cap(self) -> int:
        """Rows (>= 1) that the next batch may hold at most."""

    def observe(self, rows: int, duration_s: float, *, left_waiting: bool = False) -> None:
        """Takes in a finished batch.

        Args:
            rows: rows that the batch really held (>= 1).
            duration_s: seconds that predict took (>= 0).
            left_waiting: whether more was waiting that the cap kept out. It tells a batch that could not be filled
                (the next record holds too many rows) from one that met light load.
        """


class FixedBatchSizer:
    """Always the same cap, for models that were compiled for one batch size and for comparisons.

    Args:
        size: the cap in rows (>= 1).
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = at_least("size", size, 1)

    @property
    def cap(self) -> int:
        """The size given."""
        return self._size

    def observe(self, rows: int, duration_s: float, *, left_waiting: bool = False) -> None:  # noqa: ARG002 - nothing learned
        """Checks the figures."""
        check_batch(rows, duration_s)


@dataclass(frozen=True, slots=True)
class BatchWait:
    """Delayed batching: whether a batch that is not full waits for more rows, and until when.

    As Nagle's algorithm, NSDI'17 section 4.3.3. Worth it only where a call's fixed cost is large; off by default.

    Args:
        batch_wait_ms: how long the first record of a batch waits at most, in milliseconds (>= 0; 0: never).
    """

    batch_wait_ms: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.batch_wait_ms < math.inf:
            msg = f"batch_wait_ms must be at least 0 and finite; it is {self.batch_wait_ms}"
            raise ValueError(msg)

    def send_at_s(self, first_arrival_s: float, rows: int, cap: int, latest_start_s: float = math.inf) -> float:
        """When to send what is waiting: a time on the clock of ``first_arrival_s``; if it is past, at once.

        Args:
            first_arrival_s: when the first of the waiting records came, in monotonic seconds. Later ones do not move
                it, or a steady trickle would wait until the batch is full.
            rows: rows waiting.
            cap: the sizer's cap in rows; a full batch does not wait.
            latest_start_s: when predict must start to meet the earliest deadline, in the same seconds.
        """
        if rows >= cap:
            return first_arrival_s
        return min(first_arrival_s + self.batch_wait_ms / 1000, max(first_arrival_s, latest_start_s))


def make_batch_sizer(
    policy: str,
    objective_s: float,
    *,
    max_rows: int = DEFAULT_MAX_ROWS,
    fixed_rows: int | None = None,
    quantile: float = 0.99,
) -> BatchSizer:
    """The batch sizer that a setting names.

    Args:
        policy: ``aimd``, ``quantile`` or ``fixed``.
        objective_s: seconds that a batch may take (> 0).
        max_rows: rows that a learned cap never goes above.
        fixed_rows: the size for ``fixed``; only there.
        quantile: the quantile for ``quantile``.

    Raises:
        ValueError: if the policy is unknown, a figure is out of its range, or ``fixed_rows`` does not go with it.
    """
    if policy not in POLICIES:
        msg = f"no batching policy is called {policy!r}; there are: {', '.join(POLICIES)}"
        raise ValueError(msg)
    if (policy == "fixed") != (fixed_rows is not None):
        msg = f"fixed_rows goes with the policy 'fixed' and only with it; policy={policy!r}, fixed_rows={fixed_rows}"
        raise ValueError(msg)
    if fixed_rows is not None:
        return FixedBatchSizer(fixed_rows)
    if policy == "quantile":
        return QuantileBatchSizer(objective_s, quantile, max_rows=max_rows)
    return AimdBatchSizer(objective_s, max_rows=max_rows)
